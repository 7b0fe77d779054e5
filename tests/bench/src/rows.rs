//! The rows of the table: each one file with one job.

mod broadcast;
mod gateway;
mod growth;
mod instructions;
mod logs;
mod notifications;
mod polling;
mod pushes;
mod registry;
mod size;
mod start;

use measure::Row;

use crate::Result;
use crate::setup::Setup;
use crate::table::Line;

/// Measures a row.
pub(crate) async fn measure(row: Row, setup: &Setup) -> Result<Vec<Line>> {
    match row {
        Row::Start => start::measure(setup).await,
        Row::Size => size::measure(setup),
        Row::Pushes => pushes::measure(setup).await,
        Row::Growth => growth::measure(setup).await,
        Row::Broadcast => broadcast::measure(setup).await,
        Row::Notifications => notifications::measure(setup).await,
        Row::Registry => registry::measure(setup).await,
        Row::Gateway => gateway::measure(setup).await,
        Row::Instructions => instructions::measure(setup).await,
        Row::Logs => logs::measure(setup).await,
        Row::Polling => polling::measure(setup).await,
    }
}
