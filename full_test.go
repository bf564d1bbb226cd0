package fleetprov_test

import "flag"

var full = flag.Bool("full", false, "run the long proofs whole")
