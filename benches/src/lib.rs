//! Criterion benches of kernels and sessions: see the folder `benches/`.
