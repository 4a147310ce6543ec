//! `seam`: the host's command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cloud;
mod demo;
mod eval;
mod export_tail;
mod fit;
mod images;
mod inspect;
mod nets;
mod paper;
mod plan;
mod profile_cloud;
mod quantize;
mod quantized;
mod report;
mod scheme;
mod stages;
mod table;
mod workers;

/// Cuts a trained network in two: INT8 on an edge board, FP32 in the cloud.
#[derive(Parser)]
#[command(name = "seam", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Quantize(quantize::Args),
    Inspect(inspect::Args),
    Eval(eval::Args),
    ExportTail(export_tail::Args),
    ProfileCloud(profile_cloud::Args),
    Fit(fit::Args),
    Plan(plan::Args),
    Report(report::Args),
    Paper(paper::Args),
    Cloud(cloud::Args),
}

fn main() -> ExitCode {
    seam_edge::end_with_reader();
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Eval(args) => eval::run(args),
        Command::ExportTail(args) => export_tail::run(args),
        Command::ProfileCloud(args) => profile_cloud::run(args),
        Command::Fit(args) => fit::run(&args),
        Command::Plan(args) => plan::run(args),
        Command::Report(args) => report::run(args),
        Command::Paper(args) => paper::run(args),
        Command::Cloud(args) => cloud::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seam: {}", seam_edge::one_line(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
