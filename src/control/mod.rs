//! The control socket: protocol, server, client, rendering for people.
