using System.Text;

namespace Edge.Protocol.Mqtt.Codec;

/// <summary>Rules of topic names and filters (4.7).</summary>
public static class MqttTopic
{
    /// <summary>What a filter of a shared subscription begins with (4.8.2).</summary>
    public const string SharePrefix = "$share/";

    /// <summary>Bytes of UTF-8 that a topic may have (4.7.3).</summary>
    public const int LengthMax = 65_535;

    /// <summary>Why this is no topic name; null when it is one.</summary>
    public static string? ProblemOfName(ReadOnlySpan<byte> name)
        => name.IsEmpty ? "the topic name is empty [MQTT-4.7.3-1]"
            : name.IndexOfAny((byte)'+', (byte)'#') >= 0 ? "the topic name has a wildcard [MQTT-3.3.2-2]" : null;

    /// <inheritdoc cref="ProblemOfName(ReadOnlySpan{byte})"/>
    public static string? ProblemOfName(string name)
        => name.Contains('\0') ? "the topic name has the character U+0000 [MQTT-4.7.3-2]"
            : Encoding.UTF8.GetByteCount(name) > LengthMax ? $"the topic name has over {LengthMax} bytes [MQTT-4.7.3-3]"
            : ProblemOfName(Encoding.UTF8.GetBytes(name));

    /// <summary>Why this is no topic filter; null when it is one. A shared subscription's share name is checked too.</summary>
    public static string? ProblemOfFilter(string filter)
    {
        if (filter.Length == 0)
            return "the topic filter is empty [MQTT-4.7.3-1]";
        if (filter.Contains('\0'))
            return "the topic filter has the character U+0000 [MQTT-4.7.3-2]";
        if (filter.StartsWith(SharePrefix, StringComparison.Ordinal))
        {
            var end = filter.IndexOf('/', SharePrefix.Length);
            var share = end < 0 ? filter[SharePrefix.Length..] : filter[SharePrefix.Length..end];
            if (share.Length == 0 || share.AsSpan().ContainsAny('+', '#'))
                return $"the share name '{share}' is empty or has a wildcard [MQTT-4.8.2-1]";
            if (end < 0 || end == filter.Length - 1)
                return "no topic filter follows the share name [MQTT-4.8.2-2]";
            filter = filter[(end + 1)..];
        }

        var span = filter.AsSpan();
        for (var i = 0; i < span.Length; i++)
        {
            if (span[i] is not ('+' or '#'))
                continue;
            var alone = (i == 0 || span[i - 1] == '/') && (i == span.Length - 1 || span[i + 1] == '/');
            if (!alone)
                return $"'{span[i]}' does not stand alone in its level of the filter '{filter}' [MQTT-4.7.1-{(span[i] == '#' ? 1 : 2)}]";
            if (span[i] == '#' && i != span.Length - 1)
                return $"'#' is not the last level of the filter '{filter}' [MQTT-4.7.1-1]";
        }

        return null;
    }

    /// <summary>True when the filter, which is none of a shared subscription, takes the topic. A wildcard in the first level does not match a topic that begins with <c>$</c> (4.7.2).</summary>
    public static bool Matches(ReadOnlySpan<char> filter, ReadOnlySpan<char> topic)
    {
        if (topic.Length > 0 && topic[0] == '$' && filter.Length > 0 && filter[0] is '+' or '#')
            return false;
        while (true)
        {
            if (filter is "#")
                return true;
            var (filterEnd, topicEnd) = (filter.IndexOf('/'), topic.IndexOf('/'));
            var level = filterEnd < 0 ? filter : filter[..filterEnd];
            var name = topicEnd < 0 ? topic : topic[..topicEnd];
            if (level is not "+" && !level.SequenceEqual(name))
                return false;
            if (filterEnd < 0 || topicEnd < 0)
            {
                // "sport/#" takes "sport" too (4.7.1.2).
                return filterEnd < 0 ? topicEnd < 0 : topicEnd < 0 && filter[(filterEnd + 1)..] is "#";
            }

            filter = filter[(filterEnd + 1)..];
            topic = topic[(topicEnd + 1)..];
        }
    }

    /// <summary>Share name and filter of a shared subscription; an empty share name where it is none.</summary>
    internal static (string Share, string Filter) SplitShare(string filter)
    {
        if (!filter.StartsWith(SharePrefix, StringComparison.Ordinal))
            return ("", filter);
        var end = filter.IndexOf('/', SharePrefix.Length);
        return (filter[SharePrefix.Length..end], filter[(end + 1)..]);
    }
}
