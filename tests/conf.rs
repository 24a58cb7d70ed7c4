//! Configuration files and what is said about them: the cases of `tests/conf/cases`, what the typed configuration
//! holds, included files, hostile input, and the difference of two configurations.

#[path = "conf/balancer.rs"]
mod balancer;
#[path = "conf/cases.rs"]
mod cases;
#[path = "conf/diff.rs"]
mod diff;
#[path = "conf/include.rs"]
mod include;
#[path = "conf/keywords.rs"]
mod keywords;
#[path = "conf/replay.rs"]
mod replay;
#[path = "conf/robust.rs"]
mod robust;
#[path = "conf/typed.rs"]
mod typed;
