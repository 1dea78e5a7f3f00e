//! `seawall client-config`: the one file that makes a client use this server, one submodule per client.
//! Each file is a pure function of the server's address and its mirrors; nothing here is written anywhere.

mod buildkit;
mod containerd;
mod docker;
mod k3s;
mod podman;
mod print;
mod server;
#[cfg(test)]
mod tests;

pub use print::{Arguments, Client, print};
pub use server::Server;
