using System.Text;
using Edge.Protocol.Dns;
using Xunit;

namespace Edge.Protocol.Tests.Dns;

[Trait("Category", "Dns")]
public sealed class WireNameTests
{
    [Theory]
    [InlineData("www.example.com", "www.example.com.")]
    [InlineData("www.example.com.", "www.example.com.")]
    [InlineData(".", ".")]
    [InlineData("a\\.b.c", "a\\.b.c.")]
    [InlineData("\\000\\255.x", "\\000\\255.x.")]
    [InlineData("sp\\032ace.x", "sp\\032ace.x.")]
    [InlineData("*.x", "*.x.")]
    [InlineData("_sip._tcp.X", "_sip._tcp.X.")]
    public void Text_becomes_wire_and_text_again(string text, string canonical)
    {
        var name = DnsName.Parse(text);
        Assert.Equal(canonical, name.ToString());
        Assert.Equal(name, DnsName.Parse(canonical));
        Assert.Equal(name.Wire.Length, WireName.Measure(name.Wire));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a..b")]
    [InlineData(".a")]
    [InlineData("a b")]
    [InlineData("a\\")]
    [InlineData("a\\25")]
    [InlineData("a\\256")]
    [InlineData("\u00e9.x")]
    [InlineData("1234567890123456789012345678901234567890123456789012345678901234.x")]
    public void What_is_no_name_is_refused(string text) => Assert.False(DnsName.TryParse(text, out _));

    [Fact]
    public void A_name_may_have_255_bytes_and_no_more()
    {
        var label = new string('a', 63);
        var longest = $"{label}.{label}.{label}.{new string('b', 61)}";
        Assert.Equal(255, DnsName.Parse(longest).Wire.Length);
        Assert.False(DnsName.TryParse(longest + "b", out _));
        Assert.False(DnsName.TryParse($"{label}.{label}.{label}.{label}", out _));
    }

    [Fact]
    public void Case_counts_for_nothing_but_is_kept()
    {
        var mixed = DnsName.Parse("WwW.ExAmple-Z.CoM");
        var lower = DnsName.Parse("www.example-z.com");
        Assert.Equal(lower, mixed);
        Assert.Equal(lower.GetHashCode(), mixed.GetHashCode());
        Assert.Equal("WwW.ExAmple-Z.CoM.", mixed.ToString());
        Assert.NotEqual(DnsName.Parse("www.example-z.co"), mixed);
    }

    [Fact]
    public void Lower_case_touches_exactly_the_letters()
    {
        var all = Enumerable.Range(0, 256).Select(b => (byte)b).ToArray();
        var lower = new byte[256];
        WireName.ToLower(all, lower);
        for (var b = 0; b < 256; b++)
            Assert.Equal(b is >= 'A' and <= 'Z' ? b + 32 : b, lower[b]);
    }

    [Fact]
    public void Compressed_names_are_read_and_reading_goes_on_behind_the_pointer()
    {
        // 12: com, 17: example + pointer to 12, 27: www + pointer to 17, then a byte.
        byte[] message = [.. new byte[12], .. "\u0003com\0"u8, .. "\u0007example"u8, 0xc0, 12, .. "\u0003WWW"u8, 0xc0, 17, 0xee];
        Span<byte> name = stackalloc byte[255];
        var offset = 27;
        Assert.True(WireName.TryRead(message, ref offset, name, out var length));
        Assert.Equal("WWW.example.com.", WireName.ToText(name[..length]));
        Assert.Equal(33, offset);
        Assert.Equal(0xee, message[offset]);
        offset = 27;
        Assert.True(WireName.TrySkip(message, ref offset));
        Assert.Equal(33, offset);
    }

    [Theory]
    [InlineData("c00c", "a pointer to itself")]
    [InlineData("0161c00c", "a pointer to its own start")]
    [InlineData("c00ec00c", "a pointer forward")]
    [InlineData("c000", "a pointer into the header")]
    [InlineData("c0", "half a pointer")]
    [InlineData("016101", "a cut label")]
    [InlineData("0161", "no root label")]
    [InlineData("4161", "label type 01")]
    [InlineData("8161", "label type 10")]
    public void Bad_names_are_refused(string hex, string what)
    {
        byte[] message = [.. new byte[12], .. Convert.FromHexString(hex)];
        Span<byte> name = stackalloc byte[255];
        var offset = 12;
        Assert.False(WireName.TryRead(message, ref offset, name, out _), what);
        Assert.Equal(0, WireName.Measure(message.AsSpan(12)));
    }

    [Fact]
    public void Two_pointers_that_point_at_each_other_are_refused()
    {
        byte[] message = [.. new byte[12], 1, (byte)'a', 0xc0, 16, 1, (byte)'b', 0xc0, 12];
        Span<byte> name = stackalloc byte[255];
        foreach (var start in new[] { 12, 16 })
        {
            var offset = start;
            Assert.False(WireName.TryRead(message, ref offset, name, out _));
        }
    }

    [Fact]
    public void Pointers_do_not_make_a_name_longer_than_255()
    {
        // Each piece of 63 bytes points to the one before; the fourth makes 257.
        var message = new List<byte>(new byte[12]);
        var last = -1;
        for (var piece = 0; piece < 4; piece++)
        {
            var at = message.Count;
            message.Add(63);
            message.AddRange(Encoding.ASCII.GetBytes(new string('a', 63)));
            message.AddRange(last < 0 ? [0] : [(byte)(0xc0 | (last >> 8)), (byte)last]);
            last = at;
        }

        Span<byte> name = stackalloc byte[255];
        var offset = last;
        Assert.False(WireName.TryRead(message.ToArray(), ref offset, name, out _));
        offset = 12 + 65 + 66; // the third alone has 193
        Assert.True(WireName.TryRead(message.ToArray(), ref offset, name, out var length));
        Assert.Equal(193, length);
    }

    [Theory]
    [InlineData("a.example.com", "example.com", true)]
    [InlineData("EXAMPLE.com", "example.com", true)]
    [InlineData("example.com", ".", true)]
    [InlineData("aexample.com", "example.com", false)]
    [InlineData("com", "example.com", false)]
    public void Below_goes_by_labels(string name, string zone, bool below)
        => Assert.Equal(below, DnsName.Parse(name).IsAtOrBelow(DnsName.Parse(zone)));
}
