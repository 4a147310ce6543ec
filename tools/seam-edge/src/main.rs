//! `seam-edge`: the board's command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// The board's side of Seam: tune, profile and run INT8 networks, alone or with a cloud host.
///
/// SEAM_ISA caps the instruction set of every command (all, avx512vnni, avxvnni, avx2, dotprod,
/// neon, portable).
#[derive(Parser)]
#[command(name = "seam-edge", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Info(cli::info::Args),
    Kernels(cli::kernels::Args),
    Bench(cli::bench::Args),
    Tune(cli::tune::Args),
    Profile(cli::profile::Args),
    Push(cli::push::Args),
    Pull(cli::pull::Args),
    Infer(cli::infer::Args),
}

fn main() -> ExitCode {
    seam_edge::end_with_reader();
    let result = match Cli::parse().command {
        Command::Info(args) => cli::info::run(&args),
        Command::Kernels(args) => cli::kernels::run(&args),
        Command::Bench(args) => cli::bench::run(&args),
        Command::Tune(args) => cli::tune::run(&args),
        Command::Profile(args) => cli::profile::run(&args),
        Command::Push(args) => cli::push::run(&args),
        Command::Pull(args) => cli::pull::run(&args),
        Command::Infer(args) => cli::infer::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seam-edge: {}", seam_edge::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
