using System.Globalization;
using System.Net;
using System.Text;
using Edge.Cloud.Gslb.Tests;
using Edge.GlobalServices;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Protocol.Dns;

namespace Edge.Benchmarks.Dns;

/// <summary>A map of networks, five places that serve, and the queries of clients in these networks: the same for every server.</summary>
internal static class NearestWorld
{
    public const string Host = "near";

    private const int Seed = 7;

    private static readonly (string Country, double Latitude, double Longitude)[] s_places =
        [("DE", 50.11, 8.68), ("US", 38.9, -77.4), ("JP", 35.68, 139.69), ("BR", -23.55, -46.63), ("AU", -33.87, 151.21)];

    /// <summary>Ours: the places' coordinates, and one of 1,000 for each network.</summary>
    public static AddressSelector Selector(int networks)
    {
        var random = new Random(Seed);
        var locations = Enumerable.Range(0, 1000).Select(i => new Location("", "", $"s{i}", new GeoPoint((random.NextDouble() * 140) - 60, (random.NextDouble() * 360) - 180))).ToArray();
        var endpoints = s_places.Select((place, i) => new ServiceEndpoint(
            place.Country, [Network.Mapped(0xC0000201u + (uint)i)], 80, 1, 0, false, new Location(place.Country, "", "", new GeoPoint(place.Latitude, place.Longitude)), "", "")).ToList();
        var service = CompiledService.Compile(
            new ServiceDefinition("default/near", 60, new Policy(PolicyKind.Nearest, PolicyBy.Endpoint, null, 1), null, 1, endpoints, []), _ => EndpointHealth.Up);
        var table = LocationTable.Build(Enumerable.Range(0, networks).Select(i => (NetworkAt(i), locations[i % locations.Length])), []);
        return new AddressSelector([service], table, [new TurnState()]);
    }

    /// <summary>The directory of PowerDNS' geoip backend: a database with a country for each network, and a record for each country.</summary>
    public static void WritePowerDns(string directory, int port, int networks)
    {
        var file = Path.Combine(directory, "world.mmdb");
        File.WriteAllBytes(file, MaxMindWriter.Write(Enumerable.Range(0, networks).Select(
            i => (NetworkAt(i), (object)new Dictionary<string, object> { ["country"] = new Dictionary<string, object> { ["iso_code"] = s_places[i % s_places.Length].Country } }))));
        var zone = new StringBuilder($"domains:\n- domain: {DnsBench.Apex}\n  ttl: 60\n  records:\n    {DnsBench.Apex}:\n      - soa: ns1.{DnsBench.Apex} admin.{DnsBench.Apex} 1 7200 900 1209600 300\n      - ns: ns1.{DnsBench.Apex}\n");
        foreach (var (place, i) in s_places.Select((place, i) => (place, i)))
            zone.Append(CultureInfo.InvariantCulture, $"    {place.Country.ToLowerInvariant()}.{Host}.{DnsBench.Apex}:\n      - a: 192.0.2.{1 + i}\n");
        zone.Append(CultureInfo.InvariantCulture, $"  services:\n    {Host}.{DnsBench.Apex}: '%cc.{Host}.{DnsBench.Apex}'\n");
        File.WriteAllText(Path.Combine(directory, "zones.yaml"), zone.ToString());
        File.WriteAllText(Path.Combine(directory, "pdns.conf"), $"""
            launch=geoip
            geoip-database-files=mmdb:{file}
            geoip-zones-file={directory}/zones.yaml
            edns-subnet-processing=yes
            local-address=127.0.0.1
            local-port={port}
            socket-dir={directory}
            receiver-threads=1
            distributor-threads=1
            zone-cache-refresh-interval=0
            loglevel=3

            """);
    }

    /// <summary>Queries for the host, each with the subnet of a client in one of the networks.</summary>
    public static List<byte[]> Queries(int networks, int count)
    {
        var random = new Random(Seed + 1);
        var queries = new List<byte[]>(count);
        for (var i = 0; i < count; i++)
        {
            var address = Network.ToIPAddress(NetworkAt(random.Next(networks)).Address).GetAddressBytes();
            // RFC 7871 §6: option 8, family 1, source 24, scope 0, three bytes of address.
            queries.Add([.. Question($"{Host}.{DnsBench.Apex}", additional: 1), 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, address[0], address[1], address[2]]);
        }

        return queries;
    }

    /// <summary>Queries for names of the static zone, with EDNS.</summary>
    public static List<byte[]> StaticQueries(int names, int count)
    {
        var random = new Random(Seed + 2);
        return [.. Enumerable.Range(0, count).Select(_ => (byte[])[.. Question($"h{random.Next(names)}.{DnsBench.Apex}", additional: 1), 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0])];
    }

    private static byte[] Question(string name, byte additional) => [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, additional, .. DnsName.Parse(name).Wire, 0, 1, 0, 1];

    // /24s from 1.0.0.0 on.
    private static Network NetworkAt(int i) => new(Network.Mapped(0x0100_0000u + ((uint)i << 8)), 24, false);
}
