//! docs/writing-a-plugin.md, as whoever follows it does: every block of a language's section is written where it says, or typed, in order, in a
//! new folder and against a real database. Comments that readers do not see say what a block is:
//!
//! | comment before a block | what is done with it |
//! | --- | --- |
//! | `<!-- file: PATH -->` | it is that file, whole |
//! | `<!-- append: PATH -->` | it is added to that file |
//! | `<!-- items -->` | Rust outside of a function; compiled |
//! | `<!-- not run: REASON -->` | nothing; they are counted |
//! | none, ```` ```sh ```` | it is typed |
//! | none, ```` ```text ```` | each of its lines was said by what was typed before |
//! | none, ```` ```rust ```` | a part of a function; compiled |

use super::{BUILD, TARGET, author, printed};
use rota_testbed::{Database, Postgres, eventually};
use rota_tests::Rota;
use std::fmt::Write as _;
use std::time::Duration;

/// The page's database.
const URL: &str = "postgres://me@localhost/shop";
/// The sections that are gone through.
const SECTIONS: [&str; 4] = ["In Rust", "In JavaScript", "In Python", "In C"];
/// Blocks that nothing is done with.
const NOT_RUN: usize = 1;

#[derive(Debug)]
struct Block {
    line: usize,
    section: String,
    language: String,
    /// What the comment before it says.
    comment: String,
    text: String,
}

impl Block {
    fn is_fragment(&self) -> bool {
        self.language == "rust" && (self.comment.is_empty() || self.comment == "items")
    }
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/writing-a-plugin.md");
    std::fs::read_to_string(path).unwrap()
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut section, mut comment, mut open) = (String::new(), String::new(), false);
    for (number, line) in page.lines().enumerate() {
        if open {
            if line == "```" {
                open = false;
            } else {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let (section, comment) = (section.clone(), std::mem::take(&mut comment));
            blocks.push(Block { line: number + 1, section, language: language.into(), comment, text: String::new() });
            open = true;
        } else if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        } else if let Some(said) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) {
            comment = said.to_owned();
        } else if !line.trim().is_empty() {
            comment.clear();
        }
    }
    assert!(!open, "the last block is not closed");
    blocks
}

#[test]
fn every_block_is_run_or_says_why_it_is_not() {
    let blocks = blocks(&page());
    let mut not_run = 0;
    for block in &blocks {
        let place = format!("docs/writing-a-plugin.md:{}", block.line);
        assert!(SECTIONS.contains(&block.section.as_str()), "{place}: no section that is gone through");
        if let Some(reason) = block.comment.strip_prefix("not run: ") {
            assert!(reason.len() > 20, "{place}: `{reason}` is no reason");
            not_run += 1;
            continue;
        }
        let known = block.comment.is_empty()
            || block.comment == "items"
            || ["file: ", "append: "].iter().any(|word| block.comment.starts_with(word));
        assert!(known, "{place}: what is `{}`?", block.comment);
        let done = match block.language.as_str() {
            "sh" | "text" => block.comment.is_empty(),
            "rust" => true,
            "js" | "python" | "c" | "toml" => !block.comment.is_empty() && block.comment != "items",
            _ => false,
        };
        assert!(done, "{place}: nothing is done with a block of `{}`; say what file it is", block.language);
    }
    assert_eq!(not_run, NOT_RUN);
    for section in SECTIONS {
        assert!(blocks.iter().filter(|block| block.section == section).count() >= 5, "{section} says nothing");
    }
}

/// Go through a section.
async fn follow(section: &str, rota: &Rota) {
    let database = Postgres::shared().await.unwrap().fresh_database("page").await.unwrap();
    database
        .execute("create table orders with (autovacuum_enabled = off) as select generate_series(1, 1000) as n")
        .await
        .unwrap();
    counted(&database).await;
    let blocks = blocks(&page());
    let mut heard = String::new();
    for block in blocks.iter().filter(|block| block.section == section && !block.is_fragment()) {
        let place = format!("docs/writing-a-plugin.md:{}", block.line);
        if block.comment.starts_with("not run: ") {
            continue;
        }
        // Where the last block left us.
        let folder =
            std::fs::read_to_string(rota.path("cwd")).map_or_else(|_| rota.path("work"), |text| text.trim().into());
        if let Some(file) = block.comment.strip_prefix("file: ") {
            std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            std::fs::write(folder.join(file), &block.text).unwrap();
        } else if let Some(file) = block.comment.strip_prefix("append: ") {
            let before = std::fs::read_to_string(folder.join(file)).unwrap();
            std::fs::write(folder.join(file), format!("{before}\n{}", block.text)).unwrap();
        } else if block.language == "text" {
            for line in block.text.lines() {
                assert!(heard.contains(line), "{place}: `{line}` was not said:\n{heard}");
            }
        } else {
            heard = typed(rota, &place, &block.text, &database.url()).await;
        }
    }
}

/// What a block says, typed into a shell that stays.
async fn typed(rota: &Rota, place: &str, block: &str, url: &str) -> String {
    // The page's database is another one; and what ends with Ctrl-C ends by itself here.
    let block = block.replace(URL, url).replace("rota plugin dev ", "rota plugin dev --once ");
    let (state, cwd) = (rota.path("shell"), rota.path("cwd"));
    let script = format!(
        "set -a; [[ ! -f {state} ]] || . {state}; [[ ! -f {cwd} ]] || cd \"$(< {cwd})\"\n{block}\nexport -p > {state}; pwd > {cwd}\n",
        state = state.display(),
        cwd = cwd.display()
    );
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(rota.path("work")).env_clear().envs(rota.environment());
    shell.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(BUILD * 2, shell.output()).await.expect("it ends").unwrap();
    let heard = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{place}: {}\n{heard}", output.status);
    heard
}

/// The server's statistics come a moment after.
async fn counted(database: &Database) {
    let changed = "select coalesce(sum(n_mod_since_analyze), 0)::int8 from pg_stat_user_tables";
    eventually(Duration::from_secs(10), "the statistics of a table", async || {
        let mut connection = database.connect().await?;
        let changed: i64 = sqlx::query_scalar(changed).fetch_one(&mut connection).await?;
        Ok((changed > 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_section_on_rust_does_what_it_says() {
    follow("In Rust", &author()).await;
}

#[tokio::test]
async fn the_section_on_javascript_does_what_it_says() {
    follow("In JavaScript", &author()).await;
}

#[tokio::test]
async fn the_section_on_python_does_what_it_says() {
    let mut rota = author();
    rota_testbed::tool("bin/componentize-py").expect("scripts/setup guests");
    let programs = rota_testbed::tool("bin").unwrap();
    let path = rota.environment()[std::ffi::OsStr::new("PATH")].to_str().unwrap().to_owned();
    rota.set("PATH", format!("{path}:{}", programs.display()));
    follow("In Python", &rota).await;
}

#[tokio::test]
async fn the_section_on_c_does_what_it_says() {
    follow("In C", &author()).await;
}

/// What the parts of functions on the page are in.
const AROUND: &str = include_str!("page_fragments.rs.txt");

#[tokio::test]
async fn every_part_of_a_function_on_the_page_compiles() {
    let rota = author();
    let made = ["plugin", "new", "fragments", "--language", "rust", "--slot", "database:sql:read"];
    printed(&rota, "plugin_new", &made, 0).await;
    let (mut items, mut functions, mut count) = (String::new(), String::new(), 0);
    for block in blocks(&page()).iter().filter(|block| block.is_fragment()) {
        if block.comment == "items" {
            items.push_str(&block.text);
            continue;
        }
        count += 1;
        writeln!(functions, "// docs/writing-a-plugin.md:{}", block.line).unwrap();
        // With the names that it finds; which of them it uses is its own affair.
        writeln!(
            functions,
            "async fn line_{}(cx: Context, parameters: Parameters, bucket: Bucket, tables: Vec<Quoted>, table: &Quoted, name: String, quoted: Quoted) -> Result<()> {{\n    let mut session = cx.database().open().await?;\n{}    Ok(())\n}}\n",
            block.line, block.text
        )
        .unwrap();
    }
    assert!(count >= 6 && !items.is_empty(), "{count} parts were found");
    let source = AROUND.replace("@ITEMS@", &items).replace("@FRAGMENTS@", &functions);
    std::fs::write(rota.path("work/fragments/src/lib.rs"), &source).unwrap();
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.args(["check", "--locked", "--target-dir", TARGET]).current_dir(rota.path("work/fragments"));
    let checked = cargo.env_clear().envs(rota.environment()).output().await.unwrap();
    assert!(checked.status.success(), "{}\n{source}", String::from_utf8_lossy(&checked.stderr));
}
