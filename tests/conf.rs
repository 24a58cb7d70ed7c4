//! Configuration files and what is said about them: the cases of `tests/conf/cases`, hostile input, and the difference
//! of two configurations.

#[path = "conf/cases.rs"]
mod cases;
#[path = "conf/robust.rs"]
mod robust;
