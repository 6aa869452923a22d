using System.Diagnostics.CodeAnalysis;

namespace Edge.Protocol.Dns;

/// <summary>A domain name to keep: its wire form with the case it was given, compared without regard to case (RFC 4343).</summary>
public sealed class DnsName : IEquatable<DnsName>
{
    private readonly byte[] _wire;
    private readonly uint _hash;

    private DnsName(byte[] wire)
    {
        _wire = wire;
        Span<byte> lower = stackalloc byte[DnsLimits.Name];
        WireName.ToLower(wire, lower);
        _hash = WireName.Hash(lower[..wire.Length]);
    }

    public static DnsName Root { get; } = new([0]);

    public ReadOnlySpan<byte> Wire => _wire;

    public bool IsWildcard => _wire.Length > 2 && _wire[0] == 1 && _wire[1] == '*';

    public bool IsRoot => _wire.Length == 1;

    /// <summary>Presentation form; a missing final dot is added.</summary>
    /// <returns>False for an empty or too long label, a name over 255 bytes, or a bad escape.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, [NotNullWhen(true)] out DnsName? name)
    {
        Span<byte> wire = stackalloc byte[DnsLimits.Name];
        var length = text is null ? 0 : WireName.Parse(text, wire);
        name = length == 0 ? null : new DnsName(wire[..length].ToArray());
        return name is not null;
    }

    /// <exception cref="FormatException">The text is no domain name.</exception>
    public static DnsName Parse(string text)
        => TryParse(text, out var name) ? name : throw new FormatException($"'{text}' is no domain name: labels of 1 to 63 bytes between dots, at most 255 bytes in all");

    /// <param name="wire">One uncompressed name and nothing behind it.</param>
    /// <exception cref="ArgumentException">It is not.</exception>
    public static DnsName FromWire(ReadOnlySpan<byte> wire)
        => WireName.Measure(wire) == wire.Length ? new DnsName(wire.ToArray()) : throw new ArgumentException("not one uncompressed name", nameof(wire));

    /// <summary>Without the leftmost label; the root's parent is the root.</summary>
    public DnsName Parent() => IsRoot ? this : new DnsName(_wire[(_wire[0] + 1)..]);

    public bool IsAtOrBelow(DnsName zone) => WireName.IsAtOrBelow(_wire, zone._wire);

    public bool Equals(DnsName? other) => other is not null && _hash == other._hash && WireName.Equal(_wire, other._wire);

    public override bool Equals(object? obj) => Equals(obj as DnsName);

    public override int GetHashCode() => (int)_hash;

    public override string ToString() => WireName.ToText(_wire);
}
