using System.Globalization;
using System.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>What a reader wants of a container's log: the query of a kubelet's <c>/containerLogs</c> (Kubernetes' PodLogOptions).</summary>
/// <param name="TailLines">How many lines from the end; null for all.</param>
/// <param name="Since">Lines before it are left out; null for all.</param>
/// <param name="LimitBytes">Bytes after which the answer ends.</param>
internal sealed record ContainerLogOptions(bool Follow, bool Previous, bool Timestamps, long? TailLines, DateTimeOffset? Since, long LimitBytes)
{
    /// <summary>Reads the query.</summary>
    /// <param name="value">The value of a parameter, or null when it is not there.</param>
    /// <exception cref="LocalApiRefusal">400, naming the parameter and what it must be.</exception>
    public static ContainerLogOptions Parse(Func<string, string?> value, DateTimeOffset now)
    {
        DateTimeOffset? since = null;
        var seconds = Number(value, "sinceSeconds", 1);
        if (value("sinceTime") is { Length: > 0 } text)
        {
            if (seconds is not null)
                throw new LocalApiRefusal(400, "give sinceTime or sinceSeconds, not both");
            if (!LogTimestamp.TryParse(Encoding.UTF8.GetBytes(text), out var time))
                throw new LocalApiRefusal(400, $"sinceTime is '{text}', must be an RFC 3339 time, e.g. 2026-01-31T12:00:00Z");
            since = time;
        }
        else if (seconds is { } back)
            since = back < (now - DateTimeOffset.MinValue).TotalSeconds - 1 ? now.AddSeconds(-back) : DateTimeOffset.MinValue;

        return new ContainerLogOptions(
            Flag(value, "follow"), Flag(value, "previous"), Flag(value, "timestamps"), Number(value, "tailLines", 0), since,
            Number(value, "limitBytes", 1) ?? long.MaxValue);
    }

    /// <summary>A switch of a query: absent, empty, true, false, 1 or 0.</summary>
    /// <exception cref="LocalApiRefusal">400, anything else.</exception>
    internal static bool Flag(Func<string, string?> value, string name) => value(name) switch
    {
        null or "" or "0" or "false" => false,
        "1" or "true" => true,
        var other => throw new LocalApiRefusal(400, $"{name} is '{other}', must be true or false"),
    };

    private static long? Number(Func<string, string?> value, string name, long min)
    {
        if (value(name) is not { Length: > 0 } text)
            return null;
        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= min)
            return number;
        throw new LocalApiRefusal(400, $"{name} is '{text}', must be a whole number of at least {min}");
    }
}
