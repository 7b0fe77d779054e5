//! The rows of the table: each one file with one job.

mod broadcast;
mod gateway;
mod growth;
mod instructions;
mod polling;
mod pushes;
mod registry;
mod size;
mod start;

use crate::Result;
use crate::setup::Setup;
use crate::table::Line;

/// A group of figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// Start of a new execution environment of `connect`, with TLS and without
    Start,
    /// Sizes of the functions' programs
    Size,
    /// Pushes per second of processor time
    Pushes,
    /// What a delivery costs as its audience grows
    Growth,
    /// Broadcasts against AWS's quota
    Broadcast,
    /// Connect, subscribe and disconnect at a million rows
    Registry,
    /// The local gateway against serverless-offline
    Gateway,
    /// Instructions per push, per frame and per start
    Instructions,
    /// The same updates polled, long polled and pushed
    Polling,
}

impl Row {
    /// Whether a peer in Node.js belongs to it.
    pub(crate) fn needs_node(self) -> bool {
        matches!(self, Self::Start | Self::Pushes | Self::Gateway)
    }

    /// Measures it.
    pub(crate) async fn measure(self, setup: &Setup) -> Result<Vec<Line>> {
        match self {
            Self::Start => start::measure(setup).await,
            Self::Size => size::measure(setup),
            Self::Pushes => pushes::measure(setup).await,
            Self::Growth => growth::measure(setup).await,
            Self::Broadcast => broadcast::measure(setup).await,
            Self::Registry => registry::measure(setup).await,
            Self::Gateway => gateway::measure(setup).await,
            Self::Instructions => instructions::measure(setup).await,
            Self::Polling => polling::measure(setup).await,
        }
    }
}
