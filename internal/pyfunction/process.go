package pyfunction

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"time"
)

// maxAnswer is how many bytes an answer may have (gettingstarted-limits).
const maxAnswer = 6 << 20

// bootstrap is the program around a function. It reads an event from each line, and writes
// a line when the module is there and after each event. What the function prints goes to
// the standard error.
const bootstrap = `
import importlib, json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def answer(**members):
    answers.write(json.dumps(members) + "\n")
    answers.flush()
sys.path.insert(0, os.getcwd())
module, _, name = sys.argv[1].rpartition(".")
function = getattr(importlib.import_module(module.replace("/", ".")), name)
answer()
for event in sys.stdin:
    try:
        answer(result=function(json.loads(event), None))
    except Exception as e:
        traceback.print_exc()
        answer(error=type(e).__name__ + ": " + str(e))
`

// process is a running function. Whoever has taken it from the Function may use it; kill
// may be called by anyone.
type process struct {
	command *exec.Cmd
	events  io.WriteCloser
	answers *bufio.Scanner
}

// answer is a line from the bootstrap.
type answer struct {
	Result json.RawMessage
	Error  string
}

func launch(dir, handler string, environment []string, output io.Writer) (*process, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	command := exec.Command(python, "-c", bootstrap, handler)
	command.Dir, command.Env, command.Stderr = dir, environment, output
	command.WaitDelay = time.Second // for those that hold its standard error open
	ownGroup(command)
	events, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	lines, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	answers := bufio.NewScanner(lines)
	answers.Buffer(nil, maxAnswer)
	return &process{command, events, answers}, nil
}

// call hands over an event and returns what comes of it.
func (p *process) call(ctx context.Context, event []byte) (answer, error) {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if _, err := p.events.Write(append(event, '\n')); err != nil {
		return answer{}, cause(ctx, err)
	}
	return p.read(ctx)
}

// read waits for the next line. The process is killed when ctx ends.
func (p *process) read(ctx context.Context) (answer, error) {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if !p.answers.Scan() {
		err := p.answers.Err()
		if err == nil {
			err = errors.New("the process has ended")
		}
		return answer{}, cause(ctx, err)
	}
	var line answer
	if err := json.Unmarshal(p.answers.Bytes(), &line); err != nil {
		return answer{}, errors.New("the process wrote something else than an answer")
	}
	return line, nil
}

// cause is why a process can no longer be used.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (p *process) kill() { killGroup(p.command.Process) }

// wait waits for a process that was killed.
func (p *process) wait() { _ = p.command.Wait() }
