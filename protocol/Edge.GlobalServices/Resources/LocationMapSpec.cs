using System.Text.Json.Nodes;
using Edge.GlobalServices.Locations;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Resources;

/// <summary>A LocationMap as its manifest says.</summary>
/// <param name="DatabasePath">An .mmdb file on cloudcore's machine; empty for none.</param>
internal sealed record LocationMapSpec(string Name, IReadOnlyList<(Network Network, Location Location)> Networks, string DatabasePath)
{
    /// <summary>Reads the object; null with problems where it cannot be used.</summary>
    public static LocationMapSpec? Read(JsonObject obj, out IReadOnlyList<string> problems)
    {
        var reader = new SpecReader();
        var networks = new List<(Network, Location)>();
        foreach (var (item, i) in obj.Items("spec", "locations").Select((item, i) => (item, i)))
        {
            var path = $"spec.locations[{i}]";
            var location = GlobalServiceSpec.ReadLocation(reader, item, path);
            foreach (var (text, j) in item.Texts("networks").Select((text, j) => (text, j)))
            {
                if (Network.TryParse(text, out var network, out var error))
                    networks.Add((network, location));
                else
                    reader.Problem($"{path}.networks[{j}]", error);
            }
        }

        var database = reader.Text(obj.At("spec", "mmdb"), "spec.mmdb", "path");
        if (database.Length > 0 && !Path.IsPathRooted(database))
            reader.Problem("spec.mmdb.path", $"'{database}' is not a full path, e.g. /var/lib/edge/GeoLite2-City.mmdb");
        if (networks.Count == 0 && database.Length == 0 && reader.Problems.Count == 0)
            reader.Problem("spec", "has neither locations with networks nor mmdb.path");
        problems = reader.Problems;
        return problems.Count == 0 ? new LocationMapSpec(obj.Name(), networks, database) : null;
    }
}
