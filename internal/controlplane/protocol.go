package controlplane

import (
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// api is what the operations of one service have in common.
type api struct {
	name    string
	invalid string // the type of the error about members that do not fit the model
}

var (
	iotAPI    = api{"iot", "InvalidRequestException"}
	lambdaAPI = api{"lambda", "InvalidParameterValueException"}
	iamAPI    = api{"iam", "ValidationError"}
	stsAPI    = api{"sts", "ValidationError"}
)

// maxBody is how many bytes of a request are read. Lambda takes archives of 50 MB
// (gettingstarted-limits), which base64 makes a third larger.
const maxBody = 70 << 20

// rest serves an operation in the protocol restJson1.
func (p *plane) rest(of api, o operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := p.performREST(of, o, w, r)
		p.log(of, o, err)
		if err != nil {
			writeJSONError(w, asAPIError(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("x-amzn-RequestId", requestID())
		if o.status != 0 {
			w.WriteHeader(o.status)
		}
		if o.status != http.StatusNoContent {
			_ = json.NewEncoder(w).Encode(answer) // of maps and strings, to a client that may be gone
		}
	}
}

func (p *plane) performREST(of api, o operation, w http.ResponseWriter, r *http.Request) (output, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fail("RequestTooLargeException", "The request could not be read: %v", err)
	}
	var sent map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &sent); err != nil {
			return nil, fail(of.invalid, "The request body is not a JSON object: %v", err)
		}
	}
	given, problems := read(o.members, "", func(m member) any {
		switch m.in {
		case inPath:
			return r.PathValue(m.wire)
		case inQuery:
			return first(r.URL.Query()[m.wire])
		case inHeader:
			return first(r.Header.Values(m.wire))
		default:
			return sent[m.wire]
		}
	})
	return p.perform(of, o, given, problems, r)
}

// query serves the query protocol: the name of the operation is a parameter, too, and the
// version of the API tells STS from IAM.
func (p *plane) query(iam, sts []operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			writeXMLError(w, &apiError{"InvalidInput", err.Error()})
			return
		}
		if r.PostForm.Get("Version") == stsVersion {
			p.queryOne(stsAPI, sts, w, r)
		} else {
			p.queryOne(iamAPI, iam, w, r)
		}
	}
}

// stsVersion is the version of the API of STS.
const stsVersion = "2011-06-15"

func (p *plane) queryOne(of api, operations []operation, w http.ResponseWriter, r *http.Request) {
	index := slices.IndexFunc(operations, func(o operation) bool { return o.name == r.PostForm.Get("Action") })
	if index < 0 {
		writeXMLError(w, &apiError{"InvalidAction", "Could not find operation " + r.PostForm.Get("Action")})
		return
	}
	o := operations[index]
	given, problems := read(o.members, "", func(m member) any { return first(r.PostForm[m.wire]) })
	answer, err := p.perform(of, o, given, problems, r)
	p.log(of, o, err)
	if err != nil {
		writeXMLError(w, asAPIError(err))
		return
	}
	writeXML(w, http.StatusOK, o.name+"Response", output{
		o.name + "Result":  answer,
		"ResponseMetadata": output{"RequestId": requestID()},
	})
}

// first returns a nil if there is none.
func first(all []string) any {
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func (p *plane) perform(of api, o operation, given values, problems []string, r *http.Request) (output, error) {
	if len(problems) > 0 {
		errors := "error"
		if len(problems) > 1 {
			errors = "errors"
		}
		return nil, fail(of.invalid, "%d validation %s detected: %s", len(problems), errors, strings.Join(problems, "; "))
	}
	return o.perform(p, input{values: given, region: region(r), origin: origin(r)})
}

// log says what an operator has asked for. The values may be secret.
func (p *plane) log(of api, o operation, err error) {
	if err != nil {
		e := asAPIError(err)
		p.account.Logger.Info(o.name+" refused", "service", of.name, "type", e.Type, "reason", e.Message)
		return
	}
	p.account.Logger.Info(o.name, "service", of.name)
}

// credential finds the region in the signature of a request (Signature Version 4).
var credential = regexp.MustCompile(`Credential=[^/,]+/[0-9]{8}/([a-z0-9-]+)/`)

const defaultRegion = "us-east-1"

// region returns the region that a request is signed for.
func region(r *http.Request) string {
	if found := credential.FindStringSubmatch(r.Header.Get("Authorization")); found != nil {
		return found[1]
	}
	return defaultRegion
}

func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func requestID() string { return strings.ToLower(rand.Text()) }

func unknownPath(w http.ResponseWriter, r *http.Request) {
	writeJSONError(w, &apiError{"UnknownOperationException", "There is no operation " + r.Method + " " + r.URL.EscapedPath() + "."})
}

func writeJSONError(w http.ResponseWriter, e *apiError) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-ErrorType", e.Type)
	w.Header().Set("x-amzn-RequestId", requestID())
	w.WriteHeader(e.status())
	_ = json.NewEncoder(w).Encode(map[string]string{"message": e.Message})
}

func writeXMLError(w http.ResponseWriter, e *apiError) {
	writeXML(w, e.status(), "ErrorResponse", output{
		"Error":     output{"Type": "Sender", "Code": e.Type, "Message": e.Message},
		"RequestId": requestID(),
	})
}

func writeXML(w http.ResponseWriter, status int, root string, content output) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	encoder := xml.NewEncoder(w)
	encodeXML(encoder, root, content)
	_ = encoder.Flush() // to a client that may be gone
}

// encodeXML writes a value as the query protocol has it. What encoder cannot write it says
// when it is flushed.
func encodeXML(encoder *xml.Encoder, name string, value any) {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	switch v := value.(type) {
	case output:
		_ = encoder.EncodeToken(start)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			encodeXML(encoder, name, v[name])
		}
		_ = encoder.EncodeToken(start.End())
	case []any:
		_ = encoder.EncodeToken(start)
		for _, item := range v {
			encodeXML(encoder, "member", item)
		}
		_ = encoder.EncodeToken(start.End())
	default:
		_ = encoder.EncodeElement(v, start)
	}
}
