package iotservice

// Rejection is how AWS IoT says no.
type Rejection struct {
	StatusCode    int
	Code, Message string
	Cause         error // what the client is not told; may be nil
}

func badRequest(code, message string) *Rejection {
	return &Rejection{StatusCode: 400, Code: code, Message: message}
}
