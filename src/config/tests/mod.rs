//! Whole configurations: from file and variables to typed values and messages.

mod files;
mod load;
mod upstreams;
mod variables;
