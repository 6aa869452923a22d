using System.Globalization;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Testing.Dns;

/// <summary>Reads a zone in a small part of the master file format: a record a line, "name ttl TYPE data", names below the origin or @.</summary>
public static class ZoneText
{
    public static IEnumerable<(DnsName Name, RecordType Type, uint Ttl, byte[] Data)> Read(string origin, string text)
    {
        var apex = DnsName.Parse(origin);
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = line.Split(' ', 4, StringSplitOptions.RemoveEmptyEntries);
            var name = parts[0] == "@" ? apex : DnsName.Parse(parts[0].EndsWith('.') ? parts[0] : $"{parts[0]}.{apex}");
            Assert.True(RecordData.TryParseType(parts[2], out var type), line);
            Assert.True(RecordData.TryParse(type, parts[3], apex, out var data, out var error), $"{line}: {error}");
            yield return (name, type, uint.Parse(parts[1], CultureInfo.InvariantCulture), data);
        }
    }
}
