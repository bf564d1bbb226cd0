package provtest

import "flag"

// Full is the flag -full of every test that imports this package.
var Full = flag.Bool("full", false, "run the long proofs whole")
