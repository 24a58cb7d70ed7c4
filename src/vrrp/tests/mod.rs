//! Tests of the engine: the clauses of the RFCs, and the choices beyond them.
//!
//! Tables. A [`table::Row`] quotes a clause, sets a host up, plays steps and says which state and which effects come of
//! the last ones. [`host::Host`] plays them and checks after every step what must always hold.

mod adoption;
mod binding;
mod failover;
mod groups;
mod host;
mod invariants;
mod law;
mod leaving;
mod losses;
mod options;
mod packet;
mod props;
mod receive;
mod reload;
mod rfc_v2;
mod rfc_v3;
mod rivals;
mod states;
mod table;
mod tracking;
mod wire;
