//! Classifies the statements that are given as arguments, or one a line on stdin.

use std::io::{BufRead, stdin};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        stdin().lock().lines().map_while(Result::ok).for_each(|line| show(&line));
    } else {
        arguments.iter().for_each(|statement| show(statement));
    }
}

fn show(statement: &str) {
    println!("{statement}");
    match rota_classifier::classify(statement) {
        Ok(found) => println!("    {} ({}): {found:?}", found.accesses, found.effect),
        Err(refusal) => println!("    refused: {refusal}\n    {refusal:?}"),
    }
}
