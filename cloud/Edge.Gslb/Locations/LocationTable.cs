namespace Edge.Cloud.Gslb.Locations;

/// <summary>Client networks to locations: lists first, then the databases in their order. Immutable; a reload swaps the whole.</summary>
internal sealed class LocationTable
{
    private readonly NetworkTable[] _layers;
    private readonly Location[] _locations;

    private LocationTable(NetworkTable[] layers, Location[] locations)
    {
        _layers = layers;
        _locations = locations;
    }

    public static LocationTable Empty { get; } = new([], []);

    /// <summary>Ranges kept, for figures.</summary>
    public int Ranges => _layers.Sum(layer => layer.Ranges);

    /// <summary>Compiles lists and databases. A list wins over every database even where the database's network is longer: a list is what somebody wrote by hand.</summary>
    public static LocationTable Build(IEnumerable<(Network Network, Location Location)> lists, IEnumerable<LocationLayer> databases)
    {
        var all = new List<Location>();
        var numbers = new Dictionary<Location, int>();
        var layers = new List<NetworkTable> { NetworkTable.Build(lists.Select(one => (one.Network, NumberOf(one.Location)))) };
        foreach (var database in databases)
        {
            // Numbers inside a layer are its own; they are moved behind those that are there.
            var first = all.Count;
            all.AddRange(database.Locations);
            layers.Add(NetworkTable.Build(database.Networks.Select(one => (one.Network, first + one.Location))));
        }

        return new LocationTable([.. layers], [.. all]);

        int NumberOf(Location location)
        {
            if (numbers.TryGetValue(location, out var number))
                return number;
            all.Add(location);
            return numbers[location] = all.Count - 1;
        }
    }

    /// <summary>Where the client is, or null; and the prefix around it for which that is so.</summary>
    public Location? Find(in ClientSubnet client, out byte scope)
    {
        scope = 0;
        foreach (var layer in _layers)
        {
            var found = layer.Find(client.Address, client.IsIPv6, out var here);
            scope = Math.Max(scope, here);
            if (found >= 0)
                return _locations[found];
        }

        return null;
    }
}

/// <summary>Networks and the locations they point to by number: what an .mmdb file gives.</summary>
internal sealed record LocationLayer(IReadOnlyList<Location> Locations, IReadOnlyList<(Network Network, int Location)> Networks);
