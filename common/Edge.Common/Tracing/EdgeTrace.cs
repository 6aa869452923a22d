using System.Diagnostics;

namespace Edge.Common.Tracing;

/// <summary>Spans of the way of a change: from the watch over the link to the twin and its mapper, and of the report back. Without a listener every call here returns null and allocates
/// nothing. A place in a trace travels as W3C <c>traceparent</c> text.</summary>
public static class EdgeTrace
{
    /// <summary>What exporters subscribe to.</summary>
    public const string SourceName = "Edge";

    private static readonly ActivitySource s_source = new(SourceName);

    /// <summary>The place of the span that runs now, where it is one of these; else null.</summary>
    public static string? Current => Activity.Current is { } activity && ReferenceEquals(activity.Source, s_source) ? activity.Id : null;

    /// <summary>A span that begins a trace; null when nobody listens or the trace is not sampled.</summary>
    public static Activity? Begin(string name) => s_source.HasListeners() ? s_source.StartActivity(name, ActivityKind.Consumer) : null;

    /// <summary>A span below <paramref name="parent"/>; null when nobody listens, or the parent is none or cannot be read: it comes from a peer.</summary>
    public static Activity? Continue(string name, ActivityKind kind, string? parent)
        => parent is not null && s_source.HasListeners() && ActivityContext.TryParse(parent, null, isRemote: true, out var context) ? s_source.StartActivity(name, kind, context) : null;
}
