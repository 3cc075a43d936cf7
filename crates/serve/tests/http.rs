//! Requests over real sockets to a server whose model is a thread that answers with fixed events, and to one whose
//! model is the tiny preset.

mod chat;
mod documented;
mod fake;
mod limits;
mod safe;
mod tiny;
mod web;
