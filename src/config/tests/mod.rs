//! Whole configurations: from file and variables to typed values and messages.

mod backup;
mod bounds;
mod files;
mod gc;
mod listeners;
mod load;
mod logins;
mod mirror_settings;
mod patterns;
mod reference;
mod scrub;
mod uploads;
mod upstreams;
mod variables;
