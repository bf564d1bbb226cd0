package controlplane

// operation is one operation of an API: what AWS's service model says of it, and what it
// does. The models are those that AWS's SDKs are made from, as in botocore.
type operation struct {
	name    string
	route   string // method and path, as http.ServeMux takes them; "" in the query protocol
	members []member
	status  int // of the answer; 0: 200
	perform func(*plane, input) (output, error)
}
