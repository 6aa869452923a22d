namespace Edge.GlobalServices.Locations;

/// <summary>Client networks to locations: lists first, then the databases in their order. Immutable; a reload swaps the whole.</summary>
internal sealed class LocationTable
{
    private readonly CompiledLayer[] _layers;

    private LocationTable(CompiledLayer[] layers) => _layers = layers;

    public static LocationTable Empty { get; } = new([]);

    /// <summary>Ranges kept, for figures.</summary>
    public int Ranges => _layers.Sum(layer => layer.Networks.Ranges);

    /// <summary>Compiles the lists and puts the databases behind them. A list wins over every database even where the database's network is longer: a list is what somebody
    /// wrote by hand.</summary>
    public static LocationTable Build(IEnumerable<(Network Network, Location Location)> lists, IEnumerable<CompiledLayer> databases)
    {
        var all = new List<Location>();
        var numbers = new Dictionary<Location, int>();
        var networks = new List<(Network, int)>();
        foreach (var (network, location) in lists)
        {
            if (!numbers.TryGetValue(location, out var number))
            {
                number = numbers[location] = all.Count;
                all.Add(location);
            }

            networks.Add((network, number));
        }

        return new LocationTable([new LocationLayer(all, networks).Compile(), .. databases]);
    }

    /// <summary>Where the client is, or null; and the prefix around it for which that is so.</summary>
    public Location? Find(in ClientSubnet client, out byte scope)
    {
        scope = 0;
        foreach (var layer in _layers)
        {
            var found = layer.Networks.Find(client.Address, client.IsIPv6, out var here);
            scope = Math.Max(scope, here);
            if (found >= 0)
                return layer.Locations[found];
        }

        return null;
    }
}

/// <summary>Networks and the locations they point to by number: what an .mmdb file gives.</summary>
internal sealed record LocationLayer(IReadOnlyList<Location> Locations, IReadOnlyList<(Network Network, int Location)> Networks)
{
    /// <summary>Takes seconds for millions of networks.</summary>
    public CompiledLayer Compile() => new(NetworkTable.Build(Networks), [.. Locations]);
}

/// <summary>A layer ready for lookups.</summary>
internal sealed record CompiledLayer(NetworkTable Networks, Location[] Locations);
