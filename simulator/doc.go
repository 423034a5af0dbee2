// Package simulator serves export APIs of chatbot vendors locally, so that what
// millrace published can be compared with what there was to publish: it makes up
// a world of dialogues from a seed, serves it the way the vendors do, with their
// limits, faults and oddities, and keeps an account of every record.
//
// One world is shown by every vendor. A vendor is one file: what it makes of a
// turn of a dialogue, and the endpoints that it serves (see [vendor]). The clock,
// the dialogues, the faults, the limiter and the account are shared.
//
// Control endpoints, never limited and never faulted:
//
//	GET  /_sim/account            all records that can be seen, as JSON lines
//	GET  /_sim/account?summary=1  its first line only: the counts
//	POST /_sim/faults             sets the faults, e.g. "429=0.1,reset=0.05"
//	POST /_sim/put                adds the body as a record, see [Simulator.Put]
//	POST /_sim/pause              the world stands still
//	POST /_sim/resume             and goes on
package simulator
