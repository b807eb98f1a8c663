//! What fits the column: type, operator class, lists, memory.

use crate::{Method, Parameters};
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk_index::element::{Column, Element, Spec};
use rota_sdk_index::vector::{
    Extension, Metric, advised_lists, advised_probes, hnsw_memory, ivfflat_memory, lists_are_off, megabytes,
    memory_for, most_dimensions,
};
use rota_sdk_index::{Creation, Table};

/// What was chosen.
#[data]
pub(crate) struct Chosen {
    /// The access method.
    pub(crate) method: String,
    /// The operator class.
    pub(crate) operator_class: String,
    /// The type that is indexed.
    pub(crate) vector_type: String,
    /// Its dimensions.
    pub(crate) dimensions: i32,
    /// Whether the column is converted to half precision: then searches must convert it, too.
    pub(crate) half: bool,
    /// IVFFlat: lists.
    pub(crate) lists: Option<i64>,
    /// IVFFlat: how many of them a search should look into.
    pub(crate) probes: Option<i64>,
    /// HNSW: connections of each row.
    pub(crate) m: Option<i64>,
    /// HNSW: candidates for them.
    pub(crate) ef_construction: Option<i64>,
    /// About how much memory the build needs.
    pub(crate) memory_bytes: i64,
}

fn column<'c>(columns: &'c [Column], name: &str) -> Result<&'c Column> {
    let found = Column::named(columns, name).ok_or_else(|| {
        let vectors: Vec<&str> =
            columns.iter().filter(|c| most_dimensions(&c.base_type).is_some()).map(|c| c.name.as_str()).collect();
        Error::new(format!("the table has no column {name:?}"))
            .hint(format!("its columns of vectors: {}", vectors.join(", ")))
    })?;
    match found.base_type.as_str() {
        "vector" | "halfvec" | "sparsevec" => Ok(found),
        other => Err(Error::new(format!("the column {} is {other}, not vector, halfvec or sparsevec", found.name))),
    }
}

/// How many vectors there are: counted where there may be few or where nobody counted yet, else as the statistics have it.
pub(crate) async fn count(
    session: &mut Session,
    table: &Table,
    columns: &[Column],
    parameters: &Parameters,
) -> Result<i64> {
    let column = column(columns, &parameters.column)?;
    if table.rows >= parameters.minimum_rows.saturating_mul(10) && parameters.predicate.is_none() {
        return Ok(table.rows);
    }
    let (name, quoted) = (&table.quoted, Quoted::from_server(&column.quoted)?);
    let condition =
        Sql::from_operator(parameters.predicate.as_ref().map_or_else(|| "true".to_owned(), |text| format!("({text})")));
    let counted = sql!("select count({})::int8 from {} where {}", quoted, name, condition);
    session.query_one(counted, params![]).await.context("counting the vectors")
}

pub(crate) fn choose(parameters: &Parameters, extension: &Extension, columns: &[Column], rows: i64) -> Result<Chosen> {
    let column = column(columns, &parameters.column)?;
    let dimensions = column.modifier;
    if dimensions <= 0 {
        return Err(Error::new(format!(
            "the column {} does not say how many dimensions it has, so it cannot be indexed",
            column.name
        ))
        .hint(format!("ALTER TABLE ... ALTER COLUMN {} TYPE {}(n)", column.quoted, column.base_type)));
    }
    let (method, ivfflat) = (parameters.method.word(), parameters.method == Method::Ivfflat);
    let limit = most_dimensions(&column.base_type);
    let wide = limit.is_some_and(|most| dimensions > most);
    let half = parameters.half.unwrap_or(wide && column.base_type == "vector");
    if half && column.base_type != "vector" {
        return Err(Error::new(format!("`half`: the column {} is {} already", column.name, column.base_type)));
    }
    let vector_type = if half { "halfvec" } else { column.base_type.as_str() };
    if let Some(most) = most_dimensions(vector_type).filter(|most| dimensions > *most) {
        let hint = if vector_type == "vector" {
            "set half=true, which takes up to 4000"
        } else {
            "index a shorter form of it, or binary_quantize"
        };
        return Err(
            Error::new(format!("{dimensions} dimensions: an index takes at most {most} of {vector_type}")).hint(hint)
        );
    }
    if half && !extension.at_least((0, 7, 0)) {
        return Err(Error::new(format!("pgvector {} has no half-precision vectors", extension.version))
            .hint("update it to 0.8.3 or later"));
    }
    if ivfflat && (vector_type == "sparsevec" || parameters.metric == Metric::L1) {
        return Err(Error::new("IVFFlat has no operator class for this").hint("use hnsw"));
    }
    if ivfflat && rows < parameters.minimum_rows {
        return Err(Error::new(format!("{rows} vectors are too few for an IVFFlat index: its centers are those of the rows that are there now, and stay"))
            .hint("load the rows first, or use hnsw, which can be built on an empty table"));
    }
    if !ivfflat && parameters.ef_construction < 2 * parameters.m {
        return Err(Error::new(format!(
            "ef_construction {} is less than twice m {}",
            parameters.ef_construction, parameters.m
        )));
    }
    let lists = ivfflat.then(|| parameters.lists.unwrap_or_else(|| advised_lists(rows)));
    let memory_bytes = match lists {
        Some(lists) => ivfflat_memory(rows, vector_type, dimensions, lists),
        None => hnsw_memory(rows, vector_type, dimensions, parameters.m),
    };
    Ok(Chosen {
        method: method.to_owned(),
        operator_class: format!("{vector_type}_{}", parameters.metric.class()),
        vector_type: vector_type.to_owned(),
        dimensions,
        half,
        lists,
        probes: lists.map(advised_probes),
        m: (!ivfflat).then_some(parameters.m),
        ef_construction: (!ivfflat).then_some(parameters.ef_construction),
        memory_bytes,
    })
}

pub(crate) fn spec(
    parameters: &Parameters,
    extension: &Extension,
    columns: &[Column],
    chosen: &Chosen,
) -> Result<Spec> {
    let column = column(columns, &parameters.column)?;
    let schema = &extension.quoted_schema;
    let key = if chosen.half {
        format!("(({})::{schema}.halfvec({}))", column.quoted, chosen.dimensions)
    } else {
        column.quoted.clone()
    };
    let options = [("lists", chosen.lists), ("m", chosen.m), ("ef_construction", chosen.ef_construction)];
    Ok(Spec {
        method: parameters.method.word(),
        unique: false,
        nulls_not_distinct: false,
        elements: vec![Element {
            key,
            column: Some(column.name.clone()),
            order: String::new(),
            operator_class: Some(format!("{schema}.{}", chosen.operator_class)),
            collation: None,
        }],
        included: Vec::new(),
        predicate: parameters.predicate.clone(),
        options: options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string()))).collect(),
    })
}

/// Whether the build fits into memory. An IVFFlat build would be refused by pgvector, an HNSW build becomes many times slower.
pub(crate) async fn memory(creation: &mut Creation, parameters: &Parameters, chosen: &Chosen) -> Result<()> {
    let has = memory_for(&mut creation.watcher, parameters.maintenance_work_mem.as_deref()).await?;
    if chosen.memory_bytes <= has {
        return Ok(());
    }
    let (needs, has) = (text::size(chosen.memory_bytes), text::size(has));
    let hint = format!(
        "run it with maintenance_work_mem={} where the server has so much to spare",
        megabytes(chosen.memory_bytes)
    );
    if let Some(lists) = chosen.lists {
        let what = format!(
            "{lists} lists need about {needs} of memory, and maintenance_work_mem is {has}: pgvector would refuse to begin"
        );
        if !creation.cx.is_plan() {
            return Err(Error::new(what).hint(hint));
        }
        creation.report.critical(what).advice(hint);
    } else {
        creation
            .report
            .warning(format!("{}: its graph needs about {needs}, and maintenance_work_mem is {has}", creation.name))
            .detail("Beyond that the build goes on on disk, many times slower.")
            .advice(hint);
    }
    Ok(())
}

/// How searches use what was built.
pub(crate) fn advise(creation: &mut Creation, chosen: &Chosen) {
    let name = creation.name.clone();
    if let (Some(lists), Some(probes)) = (chosen.lists, chosen.probes) {
        creation
            .report
            .note(format!("{name}: {lists} lists; search with ivfflat.probes = {probes}"))
            .detail("The default, 1, misses most of the neighbours. pgvector-search measures the recall.");
    } else {
        creation
            .report
            .note(format!("{name} is approximate, as every HNSW index"))
            .detail("hnsw.ef_search (40 by default) trades time for recall. pgvector-search measures it.");
    }
    if chosen.half {
        creation.report.note(format!("{name}: only searches that convert the column use it")).detail(format!(
            "ORDER BY column::halfvec({}) <operator> vector::halfvec({}). pgvector-search does.",
            chosen.dimensions, chosen.dimensions
        ));
    }
}

/// An equal index is there: with the same parameters?
pub(crate) fn compare(creation: &mut Creation, chosen: &Chosen) {
    let Some(index) = creation.index.clone() else { return };
    let has = |name: &str| {
        index.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('=')?.parse::<i64>().ok())
    };
    if let Some(wanted) = chosen.lists {
        let lists = has("lists").unwrap_or(100);
        if lists_are_off(lists, wanted.saturating_mul(1000).min(1_000_000)) && lists != wanted {
            creation
                .report
                .warning(format!("{}: it has {lists} lists, and {wanted} were wanted", index.quoted))
                .remedy(
                    "pgvector-reindex",
                    &json!({ "index": index.quoted, "lists": wanted }),
                    "Rebuild it with so many while searches go on",
                );
        }
    } else if (has("m").unwrap_or(16), has("ef_construction").unwrap_or(64))
        != (chosen.m.unwrap_or(16), chosen.ef_construction.unwrap_or(64))
    {
        creation.report.note(format!("{}: it has other parameters: {}", index.quoted, index.options.join(", "))).detail(
            "They are kept. To change them, drop it and build it anew under this procedure, or set them and rebuild with pgvector-reindex.",
        );
    }
}
