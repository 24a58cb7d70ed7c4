//! Tests of the engine: the clauses of the RFCs, and the choices beyond them.
