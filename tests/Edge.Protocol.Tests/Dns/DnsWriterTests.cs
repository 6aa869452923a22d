using Edge.Protocol.Dns;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Protocol.Tests.Dns;

[Trait("Category", "Dns")]
public sealed class DnsWriterTests
{
    [Fact]
    public void Names_are_compressed_against_everything_before_them()
    {
        var buffer = new byte[512];
        var writer = new DnsWriter(buffer, 512, 7, DnsFlags.Response);
        var zone = DnsName.Parse("example.com");
        Assert.True(writer.TryWriteQuestion(DnsName.Parse("WWW.Example.com").Wire, RecordType.MX, RecordClass.IN));
        Assert.True(Write(ref writer, Section.Answer, "www.example.com", RecordType.MX, "10 mail.example.com."));
        Assert.True(Write(ref writer, Section.Answer, "www.example.com", RecordType.MX, "20 b.mail.example.com."));
        Assert.True(Write(ref writer, Section.Authority, "example.com", RecordType.NS, "mail.example.com."));
        Assert.True(Write(ref writer, Section.Additional, "b.mail.example.com", RecordType.A, "192.0.2.1"));
        var length = writer.Finish();
        // question 12+17+4; 12+2+7; 12+2+4; 12+2; 12+4
        Assert.Equal(33 + 21 + 18 + 14 + 16, length);
        Assert.Equal(["WWW.Example.com. 60 MX 10 mail.Example.com.", "WWW.Example.com. 60 MX 20 b.mail.Example.com."], DnsPackets.Records(buffer.AsSpan(0, length), Section.Answer));
        Assert.Equal(["Example.com. 60 NS mail.Example.com."], DnsPackets.Records(buffer.AsSpan(0, length), Section.Authority));
        Assert.Equal(["b.mail.Example.com. 60 A 192.0.2.1"], DnsPackets.Records(buffer.AsSpan(0, length), Section.Additional));
    }

    [Fact]
    public void Names_in_the_data_of_younger_types_stay_whole()
    {
        var buffer = new byte[512];
        var writer = new DnsWriter(buffer, 512, 7, DnsFlags.Response);
        Assert.True(Write(ref writer, Section.Answer, "_sip._tcp.example.com", RecordType.SRV, "1 2 5060 example.com.")); // RFC 3597 §4
        Assert.Equal(12 + 23 + 10 + 6 + 13, writer.Finish());
    }

    [Fact]
    public void What_does_not_fit_leaves_no_trace()
    {
        var buffer = new byte[512];
        var writer = new DnsWriter(buffer, 60, 7, DnsFlags.Response);
        Assert.True(writer.TryWriteQuestion(DnsName.Parse("a.example.com").Wire, RecordType.NS, RecordClass.IN));
        var mark = writer.Mark();
        Assert.True(Write(ref writer, Section.Answer, "a.example.com", RecordType.NS, "b.example.com."));
        Assert.False(Write(ref writer, Section.Answer, "a.example.com", RecordType.NS, "long-name.example.net."));
        writer.Rollback(mark);
        Assert.Equal(31, writer.Length);
        // A name forgotten by the rollback is not pointed to.
        Assert.True(Write(ref writer, Section.Answer, "b.example.com", RecordType.A, "192.0.2.1"));
        var length = writer.Finish();
        Assert.Equal(["b.example.com. 60 A 192.0.2.1"], DnsPackets.Records(buffer.AsSpan(0, length), Section.Answer));
    }

    [Fact]
    public void A_message_longer_than_pointers_reach_stays_sound()
    {
        var buffer = new byte[65535];
        var writer = new DnsWriter(buffer, buffer.Length, 7, DnsFlags.Response);
        var expected = new List<string>();
        for (var i = 0; i < 1500; i++)
        {
            Assert.True(Write(ref writer, Section.Answer, $"n{i}.z{i % 7}.example.com", RecordType.CNAME, $"t{i}.other{i % 90}.example."));
            expected.Add($"n{i}.z{i % 7}.example.com. 60 CNAME t{i}.other{i % 90}.example.");
        }

        var length = writer.Finish();
        Assert.True(length > 0x4000);
        Assert.Equal(expected, DnsPackets.Records(buffer.AsSpan(0, length), Section.Answer));
    }

    [Fact]
    public void The_OPT_record_carries_the_upper_response_code_and_options()
    {
        var buffer = new byte[512];
        var writer = new DnsWriter(buffer, 512, 7, DnsFlags.Response);
        Assert.True(writer.TryBeginOpt(1232, ResponseCode.BadCookie, dnssecOk: true));
        Assert.True(writer.TryWriteOption(EdnsOption.Nsid, 3, out var data));
        "abc"u8.CopyTo(data);
        Assert.True(writer.TryWriteOption(EdnsOption.Padding, 2, out data));
        data.Clear();
        var message = buffer.AsSpan(0, writer.Finish());
        Assert.Equal(ResponseCode.BadCookie, DnsPackets.Rcode(message));
        var opt = DnsPackets.Opt(message)!.Value;
        Assert.Equal((1232, 1, 0, 0x8000), (opt.Size, opt.High, opt.Version, opt.Flags));
        Assert.Equal("abc"u8.ToArray(), opt.Options[3]);
        Assert.Equal(new byte[2], opt.Options[12]);
    }

    [Theory]
    [InlineData(RecordType.A, "192.0.2.1", "192.0.2.1")]
    [InlineData(RecordType.AAAA, "2001:DB8::1", "2001:db8::1")]
    [InlineData(RecordType.CNAME, "target", "target.example.com.")]
    [InlineData(RecordType.NS, "@", "example.com.")]
    [InlineData(RecordType.MX, "10 mail", "10 mail.example.com.")]
    [InlineData(RecordType.SRV, "1 2 65535 a.b.", "1 2 65535 a.b.")]
    [InlineData(RecordType.TXT, "v=spf1 \"a b\" \\\"x \\007", "\"v=spf1\" \"a b\" \"\\\"x\" \"\\007\"")]
    [InlineData(RecordType.CAA, "0 issue \"ca.example.net\"", "0 issue \"ca.example.net\"")]
    [InlineData(RecordType.SOA, "ns admin 1 2 3 4 4294967295", "ns.example.com. admin.example.com. 1 2 3 4 4294967295")]
    [InlineData((RecordType)65280, "\\# 3 abcd ef", "\\# 3 abcdef")]
    [InlineData(RecordType.A, "\\# 4 c0000201", "192.0.2.1")]
    [InlineData((RecordType)65280, "\\# 0", "\\# 0")]
    public void Data_is_read_and_written(RecordType type, string text, string canonical)
    {
        Assert.True(RecordData.TryParse(type, text, DnsName.Parse("example.com"), out var data, out var error), error);
        Assert.Equal(canonical, RecordData.ToText(type, data));
        Assert.True(RecordData.TryParse(type, canonical, DnsName.Root, out var again, out error), error);
        Assert.Equal(data, again);
    }

    [Theory]
    [InlineData(RecordType.A, "1.2.3", "no IPv4 address")]
    [InlineData(RecordType.A, "::1", "no IPv4 address")]
    [InlineData(RecordType.AAAA, "1.2.3.4", "no IPv6 address")]
    [InlineData(RecordType.MX, "mail", "expected a preference and a name, found 1 fields")]
    [InlineData(RecordType.MX, "70000 mail", "0 to 65535")]
    [InlineData(RecordType.CNAME, "a..b", "no domain name")]
    [InlineData(RecordType.TXT, "\"open", "quote")]
    [InlineData(RecordType.TXT, "", "at least one string")]
    [InlineData(RecordType.CAA, "0 is-sue x", "no CAA tag")]
    [InlineData((RecordType)65280, "abc", "RFC 3597")]
    [InlineData((RecordType)65280, "\\# 2 ab", "bytes in hex")]
    [InlineData(RecordType.A, "\\# 3 abcdef", "no data of type A")]
    public void Bad_data_is_refused_with_what_is_expected(RecordType type, string text, string part)
    {
        Assert.False(RecordData.TryParse(type, text, DnsName.Root, out _, out var error));
        Assert.Contains(part, error, StringComparison.Ordinal);
    }

    private static bool Write(ref DnsWriter writer, Section section, string owner, RecordType type, string text)
    {
        Assert.True(RecordData.TryParse(type, text, DnsName.Root, out var data, out var error), error);
        return writer.TryWriteRecord(section, DnsName.Parse(owner).Wire, type, RecordClass.IN, 60, data);
    }
}
