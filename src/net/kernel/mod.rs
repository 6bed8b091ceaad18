//! Netlink: address orders on a worker thread, interface states from another.
