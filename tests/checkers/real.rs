//! Probes against the servers that people run: nginx, nsd, exim.
