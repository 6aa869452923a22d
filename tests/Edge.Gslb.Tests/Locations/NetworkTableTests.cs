using Edge.GlobalServices.Locations;
using Edge.Testing;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class NetworkTableTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Every_lookup_finds_the_longest_network_as_looking_at_all_of_them_does(int seed)
    {
        var random = new Random(seed);
        var networks = RandomNetworks(random, 3_000);
        var table = NetworkTable.Build(networks);
        for (var i = 0; i < 4_000; i++)
        {
            var (address, isIPv6) = Probe(random, networks);
            Assert.Equal(Longest(networks, address, isIPv6), table.Find(address, isIPv6, out _));
        }
    }

    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void The_scope_is_the_shortest_prefix_with_one_answer(int seed)
    {
        var random = new Random(seed);
        var networks = RandomNetworks(random, 300);
        var table = NetworkTable.Build(networks);
        for (var i = 0; i < 400; i++)
        {
            var (address, isIPv6) = Probe(random, networks);
            var value = table.Find(address, isIPv6, out var scope);
            var around = Network.Containing(address, scope, isIPv6);
            Assert.True(IsOneAnswer(networks, around, value), $"{around} has several answers");
            if (scope > 0)
                Assert.False(IsOneAnswer(networks, Network.Containing(address, (byte)(scope - 1), isIPv6), value), $"{around} is longer than needed");
        }
    }

    [Fact]
    public void An_empty_table_answers_none_for_all()
    {
        Assert.Equal(NetworkTable.None, NetworkTable.Empty.Find(Network.Mapped(0x01020304), false, out var scope));
        Assert.Equal(0, scope);
        Assert.Equal(NetworkTable.None, NetworkTable.Empty.Find(UInt128.MaxValue, true, out scope));
        Assert.Equal(0, scope);
    }

    [Fact]
    public void Of_a_network_given_twice_the_later_counts()
    {
        Assert.True(Network.TryParse("192.0.2.0/24", out var network, out _));
        Assert.Equal(7, NetworkTable.Build([(network, 3), (network, 7)]).Find(network.Address, false, out var scope));
        Assert.Equal(24, scope);
    }

    [Theory]
    [InlineData("0.0.0.0/0")]
    [InlineData("::/0")]
    [InlineData("255.255.255.255/32")]
    [InlineData("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")]
    public void Networks_at_the_edges_are_found(string text)
    {
        Assert.True(Network.TryParse(text, out var network, out _));
        var table = NetworkTable.Build([(network, 1)]);
        Assert.Equal(1, table.Find(network.Address, network.IsIPv6, out var scope));
        Assert.Equal(network.PrefixLength, scope);
    }

    [Fact]
    public void A_lookup_allocates_nothing()
    {
        var networks = RandomNetworks(new Random(9), 2_000);
        var table = NetworkTable.Build(networks);
        long found = 0;
        void Look()
        {
            for (var i = 0; i < 1_000; i++)
            {
                found += table.Find(networks[i].Network.Address, networks[i].Network.IsIPv6, out var scope) + scope;
            }
        }

        Assert.Equal(0, Allocation.Of(Look, warmUp: 1));
        Assert.NotEqual(0, found);
    }

    [Theory]
    [InlineData("192.0.2.1/24", "'192.0.2.1/24' has bits beyond its prefix; the network is 192.0.2.0/24")]
    [InlineData("192.0.2.0/33", "'192.0.2.0/33': the prefix length must be a whole number from 0 to 32")]
    [InlineData("192.0.2/24", "'192.0.2/24' is not a network, e.g. 192.0.2.0/24 or 2001:db8::/32")]
    [InlineData("fe80::1%lo/64", "'fe80::1%lo/64' is not a network, e.g. 192.0.2.0/24 or 2001:db8::/32")]
    public void A_text_that_is_no_network_is_refused_with_the_fix(string text, string error)
    {
        Assert.False(Network.TryParse(text, out _, out var said));
        Assert.Equal(error, said);
    }

    private static List<(Network Network, int Value)> RandomNetworks(Random random, int count)
    {
        var networks = new Dictionary<Network, int>();
        while (networks.Count < count)
        {
            var isIPv6 = random.Next(2) == 0;
            // Few high bits, so that many nest.
            var address = isIPv6 ? new UInt128((ulong)random.NextInt64() & 0x000F_00FF_FFFF_FFFF, (ulong)random.NextInt64()) : Network.Mapped((uint)random.NextInt64() & 0x0FFF_FFFF);
            networks[Network.Containing(address, (byte)random.Next(isIPv6 ? 129 : 33), isIPv6)] = random.Next(20);
        }

        return [.. networks.Select(pair => (pair.Key, pair.Value))];
    }

    private static (UInt128 Address, bool IsIPv6) Probe(Random random, List<(Network Network, int Value)> networks)
    {
        var network = networks[random.Next(networks.Count)].Network;
        var own = random.Next(4) switch
        {
            0 => network.Own,
            1 => network.OwnLast,
            2 => network.OwnLast + 1,
            _ => network.Own + (ulong)random.NextInt64(),
        };
        return network.IsIPv6 ? (own, true) : (Network.Mapped((uint)own), false);
    }

    private static int Longest(List<(Network Network, int Value)> networks, UInt128 address, bool isIPv6)
    {
        var (best, value) = (-1, NetworkTable.None);
        foreach (var (network, one) in networks)
        {
            if (network.IsIPv6 == isIPv6 && network.PrefixLength > best && Network.Containing(address, network.PrefixLength, isIPv6) == network)
                (best, value) = (network.PrefixLength, one);
        }

        return value;
    }

    // The answer changes only where a network begins or has just ended.
    private static bool IsOneAnswer(List<(Network Network, int Value)> networks, Network around, int value)
    {
        foreach (var (network, _) in networks.Where(one => one.Network.IsIPv6 == around.IsIPv6))
        {
            foreach (var own in (UInt128[])[network.Own, network.OwnLast + 1])
            {
                if (own >= around.Own && own <= around.OwnLast && Longest(networks, around.IsIPv6 ? own : Network.Mapped((uint)own), around.IsIPv6) != value)
                    return false;
            }
        }

        return Longest(networks, around.Address, around.IsIPv6) == value;
    }
}
