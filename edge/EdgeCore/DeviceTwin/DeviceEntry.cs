using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Core.DeviceTwin;

/// <summary>One device in <see cref="TwinCore"/>.</summary>
internal sealed class DeviceEntry(string @namespace, string name, DeviceRow row)
{
    /// <summary>Begins the key of a problem of one property in <see cref="Problems"/>; its name follows.</summary>
    public const string PropertyProblem = "property/";

    /// <summary>As <see cref="PropertyProblem"/>, of its desired value.</summary>
    public const string DesiredProblem = "desired/";

    private JsonObject _object = [];
    private HashSet<string> _history = [];

    public string Namespace { get; } = @namespace;

    public string Name { get; } = name;

    public string Id { get; } = $"{@namespace}/{name}";

    public string RowKey { get; } = TwinRows.DeviceKey(@namespace, name);

    /// <summary>The Device as the cloud says it.</summary>
    public JsonObject Object
    {
        get => _object;
        set
        {
            _object = value;
            Uid = DmiConvert.Text(DmiConvert.Get(value, "metadata"), "uid");
            ModelKey = (Namespace, DmiConvert.Text(DmiConvert.Get(DmiConvert.Get(value, "spec"), "deviceModelRef"), "name"));
            Labels = Texts(DmiConvert.Get(DmiConvert.Get(value, "metadata"), "labels"));
            _history = DmiConvert.HistoryOf(value);
        }
    }

    public string Uid { get; private set; } = "";

    /// <summary>Of the Device; applications at this edge see them as its attributes.</summary>
    public SortedDictionary<string, string> Labels { get; private set; } = new(StringComparer.Ordinal);

    public (string Namespace, string Name) ModelKey { get; private set; }

    /// <summary>The Device as its mapper should have it; null until its model is here.</summary>
    public Device? Message { get; set; }

    public DeviceModel? Model { get; set; }

    public string Protocol => Message?.Spec.Protocol.ProtocolName ?? "";

    public DeviceRow Row { get; set; } = row;

    /// <summary>What is wrong with the device beside its properties' own errors, by what it is about; bounded by <see cref="TwinCore.ProblemsMax"/>.</summary>
    public SortedDictionary<string, string> Problems { get; } = new(StringComparer.Ordinal);

    /// <summary>The properties that have a problem.</summary>
    public IEnumerable<string> PropertyProblems()
        => Problems.Keys.Where(key => key.StartsWith(PropertyProblem, StringComparison.Ordinal)).Select(key => key[PropertyProblem.Length..]);

    /// <summary>When its twin went up last, ms. Far enough back at first that the first report after a start always goes.</summary>
    public long TwinSentMs { get; set; } = long.MinValue / 2;

    public long StateSentMs { get; set; } = long.MinValue / 2;

    /// <summary><see cref="DeviceRow.LastOnlineMs"/> as it was stored last.</summary>
    public long OnlineStoredMs { get; set; } = row.LastOnlineMs;

    /// <summary>Something changed in this step that is not stored yet.</summary>
    public bool IsChanged { get; set; }

    /// <summary>Something changed within the window after the last message and goes with the next.</summary>
    public bool IsTwinDue { get; set; }

    /// <summary>Somebody has reported of it in this run.</summary>
    public bool IsHeardOf { get; set; }

    /// <summary>No mapper of its protocol has registered yet, and nobody has reported of it.</summary>
    public bool AwaitsMapper { get; set; }

    private static SortedDictionary<string, string> Texts(JsonNode? node)
    {
        var texts = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in node as JsonObject ?? [])
        {
            if (value is JsonValue one && one.TryGetValue<string>(out var text))
                texts[name] = text;
        }

        return texts;
    }

    /// <summary>Whether every sample of the property goes to the cloud.</summary>
    public bool KeepsHistory(string property) => _history.Contains(property);

    /// <summary>The model of one property, or null.</summary>
    public ModelProperty? PropertyModel(string property)
    {
        var properties = Model?.Spec.Properties;
        for (var i = 0; i < properties?.Count; i++)
        {
            if (properties[i].Name == property)
                return properties[i];
        }

        return null;
    }

    public bool HasProperty(string property) => PropertyModel(property) is not null || Message?.Spec.Properties.Any(one => one.Name == property) == true;
}
