//! `seam-edge`: the board's command line.

fn main() {}
