//! `bytes`: streams on their way from a source through filters to where they end. They stay in the host; the script holds their number.

use crate::cache::bytes;
use crate::desk::{Desk, Slab};
use crate::sql::Busy;
use crate::tool::Program;
use crate::value::Js;
use crate::written::Writing;
use rota_sdk::prelude::*;
use rota_sdk::{Ending, HostError, Passed};
use std::cell::RefCell;
use std::rc::Rc;

/// How many bytes a script reads as a whole, where it does not say.
pub(crate) const WHOLE: usize = 16 << 20;
/// How long a line may be that a script reads.
const LINE: usize = 1 << 20;

/// What a script holds of streams.
#[derive(Default)]
pub(crate) struct Flows {
    flows: RefCell<Slab<Flow>>,
    pub(crate) writing: RefCell<Slab<Writing>>,
    figures: RefCell<Slab<Figure>>,
}

/// What passed a filter, once it is known.
type Figure = Rc<RefCell<Option<Passed>>>;

/// A stream that nobody has read yet.
pub(crate) struct Flow {
    stream: ByteStream,
    watch: Watch,
    /// What was read of a line that has not ended.
    rest: Vec<u8>,
    /// Whether there is no more: an end is read once.
    over: bool,
}

/// What must have ended well before the bytes are whole.
#[derive(Default)]
pub(crate) struct Watch {
    /// What the bytes come from, in words.
    name: String,
    sources: Vec<Source>,
    filters: Vec<(&'static str, Figure, Ending<Passed>)>,
    /// A session that the source keeps busy.
    busy: Option<Busy>,
}

/// Where bytes come from.
pub(crate) enum Source {
    /// A call that says how many there were.
    Counted(Ending<u64>),
    /// A program's output.
    Program(Rc<Program>),
}

impl Flow {
    /// A stream with what it comes from.
    pub(crate) fn new(name: impl Into<String>, stream: ByteStream) -> Self {
        Self { stream, watch: Watch { name: name.into(), ..Watch::default() }, rest: Vec::new(), over: false }
    }

    /// With its ending.
    pub(crate) fn from(mut self, source: Source) -> Self {
        self.watch.sources.push(source);
        self
    }

    /// With the session that it keeps busy.
    pub(crate) fn keeping(mut self, busy: Busy) -> Self {
        self.watch.busy = Some(busy);
        self
    }

    /// With a filter on it that is part of the source.
    pub(crate) fn through(
        mut self,
        name: &'static str,
        filter: impl FnOnce(ByteStream) -> (ByteStream, Ending<Passed>),
    ) -> Self {
        let (stream, ending) = filter(self.stream);
        self.stream = stream;
        self.watch.filters.push((name, Figure::default(), ending));
        self
    }

    /// For a call that reads it, and what to look at afterwards.
    pub(crate) fn into_parts(self) -> (ByteStream, Watch) {
        (self.stream, self.watch)
    }
}

impl Watch {
    /// Wait until every part has ended, nearest the source first.
    ///
    /// # Errors
    /// The first that broke.
    pub(crate) async fn finish(self) -> Result<()> {
        let Self { name, sources, filters, busy } = self;
        let mut first: Option<Error> = None;
        for source in sources {
            let ended = match source {
                Source::Counted(ending) => ending.wait().await.map(drop),
                // A program may read what another wrote.
                Source::Program(program) => Box::pin(program.success()).await.map(drop),
            };
            if let Err(error) = ended {
                first.get_or_insert_with(|| error.context(format!("reading {name}")));
            }
        }
        // A session whose COPY broke off goes with it.
        if first.is_none()
            && let Some(busy) = busy
        {
            busy.give_back();
        }
        for (name, figure, ending) in filters {
            match ending.wait().await {
                Ok(passed) => *figure.borrow_mut() = Some(passed),
                Err(error) => {
                    first.get_or_insert_with(|| error.context(name));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// After a call that read the bytes: what it answered, if they were whole. In a plan nothing was read.
    ///
    /// # Errors
    /// What the call said, or what broke the stream.
    pub(crate) async fn after<T>(self, desk: &Desk, answer: Result<T>) -> Result<T> {
        if desk.cx.is_plan() {
            self.nothing_passed();
            return answer;
        }
        match answer {
            Ok(answer) => self.finish().await.map(|()| answer),
            Err(error) => {
                // Whoever read it has said what became of the program as well.
                for source in &self.sources {
                    if let Source::Program(program) = source {
                        program.was_told();
                    }
                }
                Err(error)
            }
        }
    }

    /// The same, where whoever reads may end well before the bytes do.
    ///
    /// # Errors
    /// What broke the stream, except that nobody wanted its rest.
    pub(crate) async fn up_to_where_wanted(self, planned: bool) -> Result<()> {
        if planned {
            self.nothing_passed();
            return Ok(());
        }
        match self.finish().await {
            Err(error) if matches!(error.cause(), Some(HostError::Cancelled)) => Ok(()),
            ended => ended,
        }
    }

    fn nothing_passed(self) {
        for (_, figure, _) in self.filters {
            *figure.borrow_mut() = Some(Passed { bytes_in: 0, bytes_out: 0, sha256: None });
        }
    }
}

impl Flows {
    pub(crate) fn insert(&self, flow: Flow) -> Js {
        self.flows.borrow_mut().insert(flow)
    }

    /// Take it for good.
    pub(crate) fn take(&self, handle: &Js) -> Result<Flow> {
        self.flows.borrow_mut().remove(handle)
    }

    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.flows.borrow_mut().clear();
        self.writing.borrow_mut().clear();
        self.figures.borrow_mut().clear();
    }

    /// What was opened and never read, in words; it is over now.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.flows.borrow_mut().drain().into_iter().map(|flow| flow.watch.name).collect()
    }

    /// A filter on a stream, whose figures can be asked for afterwards.
    fn filtered(
        &self,
        name: &'static str,
        handle: &Js,
        filter: impl FnOnce(ByteStream) -> Result<(ByteStream, Ending<Passed>)>,
    ) -> Result<Js> {
        let Flow { stream, mut watch, .. } = self.take(handle)?;
        let (stream, ending) = filter(stream)?;
        let figure = Figure::default();
        watch.filters.push((name, figure.clone(), ending));
        let handle = self.insert(Flow { stream, watch, rest: Vec::new(), over: false });
        Ok(Js::object([("handle", handle), ("figure", self.figures.borrow_mut().insert(figure))]))
    }

    /// All of it, into the script's memory.
    async fn whole(&self, handle: &Js, most: &Js) -> Result<Vec<u8>> {
        let most = match most {
            Js::Undefined | Js::Null => WHOLE,
            Js::Number(most) if *most >= 0.0 && most.fract() == 0.0 => *most as usize,
            _ => return Err(Error::new("how many bytes at most is a whole number")),
        };
        let Flow { mut stream, watch, .. } = self.take(handle)?;
        let mut all = Vec::new();
        while let Some(chunk) = stream.next().await {
            if all.len() + chunk.len() > most {
                return Err(Error::new(format!("{} has more than {most} bytes", watch.name))
                    .hint("read it piece by piece (`for await (const chunk of stream)`), say how many may come (.text(MOST)), or hand it to a call that reads it in the host"));
            }
            all.extend_from_slice(&chunk);
        }
        drop(stream);
        watch.finish().await?;
        Ok(all)
    }

    /// The next piece; null at the end, which is a good one.
    async fn next(&self, handle: &Js) -> Result<Js> {
        let mut flow = self.flows.borrow_mut().take(handle)?;
        if let Some(chunk) = flow.stream.next().await {
            self.flows.borrow_mut().put_back(handle, flow);
            return Ok(Js::Bytes(chunk));
        }
        self.flows.borrow_mut().free(handle);
        flow.watch.finish().await.map(|()| Js::Null)
    }

    /// The next lines, without what ends them; null at the end.
    async fn lines(&self, handle: &Js) -> Result<Js> {
        let mut flow = self.flows.borrow_mut().take(handle)?;
        loop {
            let chunk = if flow.over { None } else { flow.stream.next().await };
            flow.over = chunk.is_none();
            flow.rest.extend(chunk.unwrap_or_default());
            let whole: Vec<u8> = match flow.rest.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => flow.rest.drain(..=last).collect(),
                None if flow.over => std::mem::take(&mut flow.rest),
                None if flow.rest.len() > LINE => {
                    self.flows.borrow_mut().free(handle);
                    return Err(Error::new(format!("{} has a line of more than 1 MiB", flow.watch.name))
                        .hint("read it piece by piece: `for await (const chunk of stream)`"));
                }
                None => continue,
            };
            let Ok(text) = std::str::from_utf8(&whole) else {
                self.flows.borrow_mut().free(handle);
                return Err(Error::new(format!("a line of {} is not UTF-8", flow.watch.name)));
            };
            if whole.is_empty() {
                self.flows.borrow_mut().free(handle);
                return flow.watch.finish().await.map(|()| Js::Null);
            }
            self.flows.borrow_mut().put_back(handle, flow);
            return Ok(Js::List(text.lines().map(Js::text).collect()));
        }
    }
}

/// Calls of `bytes`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let flows = &desk.flows;
    match (what, args) {
        ("from", [data]) => Ok(flows.insert(Flow::new("what the script made", bytes(data)?.into()))),
        ("open" | "write" | "end" | "fail", args) => crate::written::call(desk, what, args).await,
        ("compress", [flow, codec, level]) => {
            let level = match level {
                Js::Undefined | Js::Null => None,
                Js::Number(level) if level.fract() == 0.0 => Some(*level as i32),
                _ => return Err(Error::new("the level of a compression is a whole number")),
            };
            match self::codec(codec)? {
                Codec::Zstd => flows.filtered("zstd", flow, |stream| stream.zstd(level.unwrap_or(3))),
                Codec::Gzip => flows
                    .filtered("gzip", flow, |stream| stream.gzip(level.unwrap_or(6).try_into().unwrap_or(u32::MAX))),
            }
        }
        ("decompress", [flow, codec]) => match self::codec(codec)? {
            Codec::Zstd => flows.filtered("unzstd", flow, |stream| Ok(stream.unzstd())),
            Codec::Gzip => flows.filtered("gunzip", flow, |stream| Ok(stream.gunzip())),
        },
        ("sha256", [flow]) => flows.filtered("sha256", flow, |stream| Ok(stream.tee_sha256())),
        ("count", [flow]) => flows.filtered("count", flow, |stream| Ok(stream.count())),
        ("encrypt", [flow, recipients]) => {
            let recipients: Vec<String> = match recipients {
                Js::Text(one) => vec![one.clone()],
                Js::List(all) => all.iter().map(text).collect::<Result<_>>()?,
                _ => return Err(Error::new("recipients are texts: \"age1...\"")),
            };
            flows.filtered("encrypt", flow, |stream| stream.encrypt(&recipients))
        }
        ("decrypt", [flow, slot]) => {
            let key = desk.key_slot(slot)?;
            flows.filtered("decrypt", flow, |stream| stream.decrypt(&key))
        }
        ("limit", [flow, Js::Number(rate)]) if *rate >= 1.0 => {
            flows.filtered("limit", flow, |stream| stream.rate_limit(*rate as u64))
        }
        ("limit", _) => Err(Error::new("a limit is a number of bytes a second, at least 1")),
        ("drain", [flow]) => {
            let (stream, watch) = flows.take(flow)?.into_parts();
            let drained = stream.drain().await;
            // A filter knows better than the drain what broke.
            watch.finish().await?;
            Ok(figures(&drained?))
        }
        ("next", [flow]) => flows.next(flow).await,
        ("lines", [flow]) => flows.lines(flow).await,
        ("whole", [flow, most]) => Ok(Js::Bytes(flows.whole(flow, most).await?)),
        ("text", [flow, most, Js::Flag(lossy)]) => match String::from_utf8(flows.whole(flow, most).await?) {
            Ok(text) => Ok(Js::Text(text)),
            Err(error) if *lossy => Ok(Js::Text(String::from_utf8_lossy(error.as_bytes()).into_owned())),
            Err(_) => Err(Error::new("the bytes are not UTF-8").hint("await the stream itself: that gives its bytes")),
        },
        ("close", [flow]) => {
            drop(flows.take(flow));
            Ok(Js::Undefined)
        }
        ("passed", [figure]) => match &*flows.figures.borrow().get(figure)?.borrow() {
            Some(passed) => Ok(figures(passed)),
            None => Err(Error::new("nothing is known of what passed until the stream has been read to its end")
                .hint("await what reads it (bucket.put, drain, text ...) before asking")),
        },
        _ => Err(Desk::unknown("bytes", what)),
    }
}

enum Codec {
    Zstd,
    Gzip,
}

fn codec(word: &Js) -> Result<Codec> {
    match word {
        Js::Undefined | Js::Null => Ok(Codec::Zstd),
        Js::Text(word) if word == "zstd" => Ok(Codec::Zstd),
        Js::Text(word) if word == "gzip" => Ok(Codec::Gzip),
        _ => Err(Error::new("a compression is \"zstd\" or \"gzip\"")),
    }
}

pub(crate) fn text(value: &Js) -> Result<String> {
    match value {
        Js::Text(text) => Ok(text.clone()),
        _ => Err(Error::new("a text is wanted here")),
    }
}

fn figures(passed: &Passed) -> Js {
    Js::object([
        ("in", Js::count(passed.bytes_in)),
        ("out", Js::count(passed.bytes_out)),
        ("sha256", passed.sha256.clone().map_or(Js::Undefined, Js::Text)),
    ])
}
