package controlplane

import "net/http"

// checkSender refuses what a web page could send to make something: a browser adds Origin to
// each POST, PUT and DELETE, also to those for a host name that was pointed at this machine.
func checkSender(r *http.Request) *apiError {
	if r.Header.Get("Origin") != "" {
		return &apiError{"AccessDeniedException", "Requests of web pages are refused."}
	}
	return nil
}
