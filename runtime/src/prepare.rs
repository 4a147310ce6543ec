//! From a step to prepared kernel calls.
