package controlplane

import "net/http"

// codePath is where the code of functions is downloaded from. AWS gives out addresses of
// Amazon S3 that are valid for ten minutes (API_FunctionCodeLocation).
const codePath = "/function-code/"

// serveCode answers with the archive of a function.
func (p *plane) serveCode(w http.ResponseWriter, r *http.Request) {
	p.functions.mu.Lock()
	found := p.functions.byName[r.PathValue("name")]
	var archive []byte
	if found != nil {
		archive = found.archive
	}
	p.functions.mu.Unlock()
	if found == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	_, _ = w.Write(archive) // to a client that may be gone
}
