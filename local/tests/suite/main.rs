//! Tests of the Lambda host, the development gateway and the command line with real processes.

mod host;
mod invoke_api;
mod support;
