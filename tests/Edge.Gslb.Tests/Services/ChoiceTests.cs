using Edge.GlobalServices;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Testing;
using static Edge.Cloud.Gslb.Tests.World;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class ChoiceTests
{
    private static readonly LocationTable s_map = Map(("192.0.2.0/24", Frankfurt), ("198.51.100.0/24", Virginia), ("203.0.113.0/24", Tokyo), ("2001:db8::/32", Amsterdam));

    private static readonly ServiceEndpoint[] s_world =
    [
        Endpoint("ams-1", "10.0.0.1,fd00::1", Amsterdam), Endpoint("fra-1", "10.0.0.2", Frankfurt, weight: 3), Endpoint("fra-2", "10.0.0.3", Frankfurt), Endpoint("iad-1", "10.0.0.4,fd00::4", Virginia),
    ];

    [Fact]
    public void Nearest_answers_the_closest_and_the_scope_is_that_of_the_location()
    {
        var service = new Asked(Service(Leaf(PolicyKind.Nearest), s_world), s_map);
        Assert.Equal("10.0.0.2", service.Ask("192.0.2.7/32", false, out var selection));
        Assert.Equal((30u, (byte)24), (selection.TtlSeconds, selection.ScopePrefix));
        Assert.Equal("10.0.0.4", service.Ask("198.51.100.0/24"));
        Assert.Equal("fd00::1", service.Ask("2001:db8:7::/48", true, out selection));
        Assert.Equal(32, selection.ScopePrefix);
        // Tokyo's own is not there.
        Assert.Equal("10.0.0.1", new Asked(Service(Leaf(PolicyKind.Nearest), s_world), s_map).Ask("203.0.113.1/32"));
    }

    [Fact]
    public void Nearest_of_several_answers_come_in_order_of_distance()
        => Assert.Equal("10.0.0.2 10.0.0.3 10.0.0.1", new Asked(Service(Leaf(PolicyKind.Nearest, 3), s_world), s_map).Ask("192.0.2.7/32"));

    [Fact]
    public void Nearest_goes_by_names_where_there_are_no_coordinates()
    {
        Location eu = new("", "eu", "", null), us = new("", "us", "", null), fra = new("DE", "eu", "fra", null);
        var service = new Asked(Service(Leaf(PolicyKind.Nearest), Endpoint("us", "10.0.0.1", us), Endpoint("eu", "10.0.0.2", eu), Endpoint("fra", "10.0.0.3", fra)), Map(("192.0.2.0/24", fra)));
        Assert.Equal("10.0.0.3", service.Ask("192.0.2.1/32"));
    }

    [Fact]
    public void A_client_of_whom_nothing_is_known_is_sent_by_weight()
    {
        var service = new Asked(Service(Leaf(PolicyKind.Nearest), s_world), s_map);
        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"], Enumerable.Range(0, 60).Select(_ => service.Ask("100.64.0.1/32")).Distinct().Order());
    }

    [Fact]
    public void Weighted_keeps_the_proportions_over_any_stretch()
    {
        var service = new Asked(Service(Leaf(PolicyKind.Weighted), Endpoint("a", "10.0.0.1", weight: 6), Endpoint("b", "10.0.0.2", weight: 3), Endpoint("c", "10.0.0.3"), Endpoint("d", "10.0.0.4", weight: 0)));
        for (var stretch = 0; stretch < 20; stretch++)
        {
            var answers = Enumerable.Range(0, 100).Select(_ => service.Ask("192.0.2.1/32", false, out var selection) + "/" + selection.ScopePrefix).CountBy(one => one).ToDictionary();
            Assert.InRange(answers["10.0.0.1/0"], 57, 63);
            Assert.InRange(answers["10.0.0.2/0"], 27, 33);
            Assert.InRange(answers["10.0.0.3/0"], 8, 12);
            Assert.Equal(3, answers.Count);
        }
    }

    [Fact]
    public void Weights_that_are_all_zero_are_equal()
    {
        var service = new Asked(Service(Leaf(PolicyKind.Weighted), Endpoint("a", "10.0.0.1", weight: 0), Endpoint("b", "10.0.0.2", weight: 0)));
        Assert.Equal(2, Enumerable.Range(0, 10).Select(_ => service.Ask("192.0.2.1/32")).Distinct().Count());
    }

    [Fact]
    public void Failover_goes_down_the_priorities_as_endpoints_fall_ill()
    {
        ServiceEndpoint[] endpoints = [Endpoint("c", "10.0.0.3", priority: 30), Endpoint("a", "10.0.0.1", priority: 10), Endpoint("b", "10.0.0.2", priority: 20)];
        var ill = new HashSet<string>();
        var answers = new List<string>();
        foreach (var next in (string[])["", "a", "b"])
        {
            ill.Add(next);
            answers.Add(new Asked(Service(Leaf(PolicyKind.Failover), endpoints), healthOf: one => Health(one, ill)).Ask("192.0.2.1/32"));
        }

        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.3"], answers);
    }

    [Fact]
    public void Failover_chooses_a_tier_and_goes_on_inside()
    {
        var policy = Group(PolicyKind.Failover, PolicyBy.Priority, Leaf(PolicyKind.RoundRobin));
        var service = new Asked(Service(policy, Endpoint("a", "10.0.0.1", priority: 1), Endpoint("spare", "10.0.0.9", priority: 2), Endpoint("b", "10.0.0.2", priority: 1)));
        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.1"], Enumerable.Range(0, 3).Select(_ => service.Ask("192.0.2.1/32")));
    }

    [Fact]
    public void Round_robin_takes_one_after_the_other_and_turns_lists()
    {
        var service = new Asked(Service(Leaf(PolicyKind.RoundRobin), Endpoint("a", "10.0.0.1"), Endpoint("b", "10.0.0.2"), Endpoint("c", "10.0.0.3")));
        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"], Enumerable.Range(0, 4).Select(_ => service.Ask("192.0.2.1/32")));
        var all = new Asked(Service(Leaf(PolicyKind.RoundRobin, 3), Endpoint("a", "10.0.0.1"), Endpoint("b", "10.0.0.2"), Endpoint("c", "10.0.0.3")));
        Assert.Equal(["10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.2 10.0.0.3 10.0.0.1", "10.0.0.3 10.0.0.1 10.0.0.2"], Enumerable.Range(0, 3).Select(_ => all.Ask("192.0.2.1/32")));
    }

    [Fact]
    public void Turns_of_one_region_do_not_move_those_of_another()
    {
        var policy = Group(PolicyKind.Nearest, PolicyBy.Region, Leaf(PolicyKind.RoundRobin));
        var service = new Asked(Service(policy, [.. s_world, Endpoint("iad-2", "10.0.0.5", Virginia)]), s_map);
        var answers = new List<string>();
        for (var i = 0; i < 6; i++)
        {
            answers.Add(service.Ask("192.0.2.1/32"));
            service.Ask("198.51.100.1/32");
        }

        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.3"], answers);
    }

    [Fact]
    public void Multivalue_answers_several_at_once_in_turn()
    {
        ServiceEndpoint[] twelve = [.. Enumerable.Range(1, 12).Select(i => Endpoint($"e{i:00}", $"10.0.0.{i}"))];
        var service = new Asked(Service(Leaf(PolicyKind.Multivalue, 8), twelve));
        var seen = new HashSet<string>();
        for (var i = 0; i < 12; i++)
        {
            var answer = service.Ask("192.0.2.1/32").Split(' ');
            Assert.Equal(8, answer.Distinct().Count());
            seen.UnionWith(answer);
        }

        Assert.Equal(12, seen.Count);
    }

    [Fact]
    public void Nearest_region_then_weighted_inside()
    {
        var policy = Group(PolicyKind.Nearest, PolicyBy.Region, Leaf(PolicyKind.Weighted));
        var service = new Asked(Service(policy, s_world), s_map);
        var answers = Enumerable.Range(0, 500).Select(_ => service.Ask("192.0.2.1/32")).CountBy(one => one).ToDictionary();
        Assert.Equal(["10.0.0.1", "10.0.0.2", "10.0.0.3"], answers.Keys.Order());
        Assert.InRange(answers["10.0.0.2"], 290, 310);
        Assert.Equal("10.0.0.4", service.Ask("198.51.100.1/32"));
    }

    [Fact]
    public void Latency_goes_by_what_was_measured_and_by_distance_where_nothing_was()
    {
        var definition = Service(Leaf(PolicyKind.Latency), s_world) with { Latencies = [new("fra", "iad-1", 5), new("fra", "fra-1", 9), new("asia", "fra-2", 100)] };
        var service = new Asked(definition, s_map);
        Assert.Equal("10.0.0.4", service.Ask("192.0.2.1/32"));
        Assert.Equal("10.0.0.3", service.Ask("203.0.113.1/32"));
        Assert.Equal("10.0.0.4", service.Ask("198.51.100.1/32"));
    }

    [Fact]
    public void What_is_drained_or_not_ready_or_ill_is_not_answered()
    {
        var service = new Asked(
            Service(Leaf(PolicyKind.Multivalue, 8), Endpoint("a", "10.0.0.1", drained: true), Endpoint("b", "10.0.0.2", notReady: "no pod"), Endpoint("c", "10.0.0.3"), Endpoint("d", "10.0.0.4")),
            healthOf: one => Health(one, ["d"]));
        Assert.Equal("10.0.0.3", service.Ask("192.0.2.1/32"));
        Assert.Equal("", service.Ask("192.0.2.1/32", isIPv6: true));
    }

    [Theory]
    [InlineData(50, 1, "10.0.0.1 10.0.0.2 10.0.0.3")]
    [InlineData(50, 2, "10.0.0.1 10.0.0.2")]
    [InlineData(1, 0, "10.0.0.1 10.0.0.2 10.0.0.3")]
    [InlineData(1, 1, "10.0.0.1")]
    [InlineData(0, 0, "")]
    public void Below_the_minimum_share_of_healthy_endpoints_all_are_answered_but_the_drained(int minimumPercent, int healthy, string answer)
    {
        var definition = Service(Leaf(PolicyKind.Multivalue, 8), [.. Enumerable.Range(1, 3).Select(i => Endpoint($"e{i}", $"10.0.0.{i}")), Endpoint("drained", "10.0.0.9", drained: true)]) with { MinimumHealthyPercent = minimumPercent };
        var service = new Asked(definition, healthOf: one => new EndpointHealth(one.Name[1] - '0' <= healthy, "ill"));
        Assert.Equal(answer, string.Join(' ', service.Ask("192.0.2.1/32").Split(' ').Order()));
    }

    [Fact]
    public void A_subnet_sticks_to_its_endpoint_and_only_those_of_one_that_goes_move()
    {
        ServiceEndpoint[] ten = [.. Enumerable.Range(0, 10).Select(i => Endpoint($"e{i}", $"10.0.0.{i}", weight: i < 5 ? 1 : 2))];
        var definition = Service(Leaf(PolicyKind.Weighted), ten) with { Sticky = new Sticky(24, 56) };
        var (before, after) = (new Asked(definition), new Asked(definition, healthOf: one => Health(one, ["e7"])));
        var grown = new Asked(definition with { Endpoints = [.. ten, Endpoint("new", "10.0.0.99")] });
        var (counts, toNew) = (new Dictionary<string, int>(), 0);
        for (var i = 0; i < 6_000; i++)
        {
            var client = $"10.{i / 256}.{i % 256}";
            var first = before.Ask($"{client}.1/32", false, out var selection);
            Assert.Equal(24, selection.ScopePrefix);
            Assert.Equal(first, before.Ask($"{client}.0/24"));
            counts[first] = counts.GetValueOrDefault(first) + 1;
            var second = after.Ask($"{client}.1/32");
            if (first == "10.0.0.7")
                Assert.NotEqual(first, second);
            else
                Assert.Equal(first, second);
            var third = grown.Ask($"{client}.1/32");
            if (third == "10.0.0.99")
                toNew++;
            else
                Assert.Equal(first, third);
        }

        // 5 of weight 1 and 5 of weight 2: 400 and 800 each.
        Assert.All(counts, pair => Assert.InRange(pair.Value, pair.Key[^1] < '5' ? 320 : 700, pair.Key[^1] < '5' ? 480 : 900));
        Assert.InRange(toNew, 300, 450);
    }

    [Fact]
    public void A_choice_allocates_nothing()
    {
        Policy[] policies =
        [
            Leaf(PolicyKind.Nearest), Leaf(PolicyKind.Latency, 2), Leaf(PolicyKind.Weighted, 3), Leaf(PolicyKind.RoundRobin), Leaf(PolicyKind.Multivalue, 8), Leaf(PolicyKind.Failover),
            Group(PolicyKind.Nearest, PolicyBy.Region, Leaf(PolicyKind.Weighted)), Group(PolicyKind.Weighted, PolicyBy.Country, Group(PolicyKind.Nearest, PolicyBy.Site, Leaf(PolicyKind.Multivalue, 8))),
        ];
        var services = policies.SelectMany(policy => new[] { Service(policy, s_world), Service(policy, s_world) with { Sticky = new Sticky(24, 56), Latencies = [new("fra", "fra-1", 3)] } })
            .Select(one => CompiledService.Compile(one, _ => EndpointHealth.Up)).ToList();
        var selector = new AddressSelector(services, s_map, [.. services.Select(_ => new TurnState())]);
        ClientSubnet[] clients = [Client("192.0.2.1/32"), Client("2001:db8::/56"), Client("100.64.0.0/10")];
        var addresses = new UInt128[16];
        var answers = 0;
        void Ask()
        {
            for (var service = 0; service < services.Count; service++)
            {
                foreach (var client in clients)
                    answers += selector.Select(service, client.IsIPv6, client, addresses).Count;
            }
        }

        Assert.Equal(0, Allocation.Of(Ask, warmUp: 95));
        Assert.True(answers > services.Count * 100, $"{answers} answers");
    }

    [Fact]
    public void A_thousand_clients_of_the_world_get_the_nearest_of_five_regions()
    {
        var random = new Random(21);
        (string Name, double Latitude, double Longitude)[] regions = [("oregon", 45.6, -121.2), ("frankfurt", 50.1, 8.7), ("singapore", 1.35, 103.8), ("saopaulo", -23.5, -46.6), ("sydney", -33.9, 151.2)];
        ServiceEndpoint[] endpoints = [.. regions.Select((one, i) => Endpoint(one.Name, $"10.0.0.{i}", new Location("", one.Name, "", new GeoPoint(one.Latitude, one.Longitude))))];
        var clients = Enumerable.Range(0, 1_000).Select(i => (Network: $"100.{i / 256}.{i % 256}.0/24", Latitude: (random.NextDouble() * 180) - 90, Longitude: (random.NextDouble() * 360) - 180)).ToList();
        var map = Map([.. clients.Select(one => (one.Network, new Location("", "", "", new GeoPoint(one.Latitude, one.Longitude))))]);
        var service = new Asked(Service(Leaf(PolicyKind.Nearest), endpoints), map);
        foreach (var client in clients)
        {
            var nearest = Enumerable.Range(0, regions.Length).MinBy(i => Haversine(client.Latitude, client.Longitude, regions[i].Latitude, regions[i].Longitude));
            Assert.Equal($"10.0.0.{nearest}", service.Ask(client.Network, false, out var selection));
            Assert.Equal(24, selection.ScopePrefix);
        }
    }

    [Fact]
    public void Distances_are_those_of_the_great_circle()
    {
        var random = new Random(22);
        for (var i = 0; i < 1_000; i++)
        {
            var (a, b, c, d) = ((random.NextDouble() * 180) - 90, (random.NextDouble() * 360) - 180, (random.NextDouble() * 180) - 90, (random.NextDouble() * 360) - 180);
            Assert.Equal(Haversine(a, b, c, d), GeoPoint.Km(GeoPoint.Chord2(new GeoPoint(a, b), new GeoPoint(c, d))), 0.01);
        }
    }

    [Fact]
    public void An_explanation_says_who_fell_out_and_why_and_the_answer_that_a_query_gets()
    {
        var policy = Group(PolicyKind.Nearest, PolicyBy.Region, Leaf(PolicyKind.RoundRobin));
        var service = new Asked(Service(policy, [.. s_world, Endpoint("old", "10.0.0.8", Frankfurt, drained: true)]), s_map, one => Health(one, ["fra-2"]));
        var text = service.Explain("192.0.2.7/32");
        foreach (var line in (string[])[
            "client      192.0.2.7/32 (client subnet)", "service     default/shop, policy nearest by region, then roundRobin", "considered  3 of 5 endpoints",
            "  fra-2  10.0.0.3  at DE/eu/fra (50.11, 8.68)  fell out: ill", "  old  10.0.0.8  at DE/eu/fra (50.11, 8.68)  fell out: it is drained", "location    DE/eu/fra (50.11, 8.68) (the same for /24)",
            "step 1      nearest by region among 3: eu [fra-1] (eu [ams-1] 364 km, eu [fra-1] 0 km, us-east [iad-1] 6554 km)", "step 2      roundRobin among 2: ams-1", "answer      A 10.0.0.1", "ttl         30 s",
            "scope       /24, the same answer for 192.0.2.0/24",
        ])
            Assert.Contains(line, text.Split('\n'));
        // It takes no turn.
        Assert.Equal(text, service.Explain("192.0.2.7/32"));
        Assert.Equal("10.0.0.1", service.Ask("192.0.2.7/32"));
        Assert.Contains("answer      A 10.0.0.2", service.Explain("192.0.2.7/32"), StringComparison.Ordinal);
        Assert.Contains("answer      none (NODATA): no endpoint is eligible for AAAA", new Asked(Service(policy, Endpoint("a", "10.0.0.1"))).Explain("192.0.2.7/32", true), StringComparison.Ordinal);
    }

    private static EndpointHealth Health(ServiceEndpoint endpoint, HashSet<string> ill) => ill.Contains(endpoint.Name) ? new EndpointHealth(false, "ill") : EndpointHealth.Up;

    private static double Haversine(double latitude1, double longitude1, double latitude2, double longitude2)
    {
        static double Radians(double degrees) => degrees * Math.PI / 180;
        var (sinLatitude, sinLongitude) = (Math.Sin(Radians(latitude2 - latitude1) / 2), Math.Sin(Radians(longitude2 - longitude1) / 2));
        var a = (sinLatitude * sinLatitude) + (Math.Cos(Radians(latitude1)) * Math.Cos(Radians(latitude2)) * sinLongitude * sinLongitude);
        return 2 * GeoPoint.RadiusKm * Math.Asin(Math.Min(1, Math.Sqrt(a)));
    }
}
