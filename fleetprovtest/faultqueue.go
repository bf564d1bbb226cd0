package fleetprovtest

import "sync"

// faultQueues holds the faults that were injected and not taken yet.
type faultQueues struct {
	mu   sync.Mutex // guards byOp
	byOp map[Op][]Fault
}

func (q *faultQueues) add(op Op, f Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byOp == nil {
		q.byOp = make(map[Op][]Fault)
	}
	q.byOp[op] = append(q.byOp[op], f)
}

// take removes and returns the oldest fault of op, or the zero Fault if there is none.
func (q *faultQueues) take(op Op) Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.byOp[op]
	if len(queue) == 0 {
		return Fault{}
	}
	q.byOp[op] = queue[1:]
	return queue[0]
}
