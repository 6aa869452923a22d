using Edge.Cloud.Gslb.Zones;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;

namespace Edge.Gslb.Tests.Zones;

/// <summary>Mutated packets through the whole responder; <c>./bench.sh dns-fuzz</c> takes 10,000,000.</summary>
[Trait("Category", "Dns")]
public sealed class MutationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void No_packet_makes_an_exception_an_unsound_answer_or_garbage(int seed)
    {
        const int Packets = 100_000;
        var fuzz = new DnsMutation(seed, new AuthoritativeOptions { Nsid = "n", Cookies = new DnsCookies(new byte[16]), EcsResolvers = TestZones.Networks("0.0.0.0/0"), Version = "v" });
        for (var i = 0; i < 1000; i++)
            fuzz.Step();
        for (var i = 0; i < Packets; i++)
            fuzz.Step();
        Assert.True(fuzz.Answers.Values.Sum() + fuzz.Silent == Packets + 1000);
        // All kinds were met, so that the run says something.
        foreach (var code in new[] { ResponseCode.NoError, ResponseCode.NameError, ResponseCode.FormatError, ResponseCode.Refused, ResponseCode.NotImplemented, ResponseCode.BadVersion })
            Assert.True(fuzz.Answers.GetValueOrDefault(code) > 0, $"{code} never came");
        Assert.True(fuzz.Silent > 0 && fuzz.Truncated > 0);
    }
}
