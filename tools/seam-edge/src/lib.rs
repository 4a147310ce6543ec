//! The board's side of a collaborative inference, as a library that `seam-edge` and `seam demo`
//! share.
