using System.Text.Json;

namespace Edge.Cloud.DeviceController;

/// <summary>One side of a twin as an entry of <c>status.twins[]</c> holds it; empty texts are left out.</summary>
/// <param name="TimestampMs">The mapper's, in ms since the epoch.</param>
/// <param name="Type">Of the value, as the edge says it.</param>
/// <param name="Error">Why the mapper could not read the property; the next report without one clears it.</param>
/// <param name="Conflict">Which desired value replaced which; cleared likewise.</param>
internal sealed record TwinSide(string Value, string TimestampMs, string Type, string Error, string Conflict)
{
    public void WriteTo(Utf8JsonWriter json, ReadOnlySpan<byte> name)
    {
        json.WriteStartObject(name);
        json.WriteString("value"u8, Value);
        json.WriteStartObject("metadata"u8);
        Write(json, "timestamp"u8, TimestampMs);
        Write(json, "type"u8, Type);
        Write(json, "error"u8, Error);
        Write(json, "conflict"u8, Conflict);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ReadOnlySpan<byte> name, string text)
    {
        if (text.Length > 0)
            json.WriteString(name, text);
    }
}

/// <summary>What reports say of one property; null for a side that they do not name.</summary>
internal sealed record TwinEntry(TwinSide? Reported, TwinSide? ObservedDesired)
{
    /// <summary>This with the sides of a newer one laid over.</summary>
    public TwinEntry Under(TwinEntry newer) => new(newer.Reported ?? Reported, newer.ObservedDesired ?? ObservedDesired);

    /// <summary>Writes the entry of a property that the status does not have yet.</summary>
    public void WriteTo(Utf8JsonWriter json, string property)
    {
        json.WriteStartObject();
        json.WriteString("propertyName"u8, property);
        Reported?.WriteTo(json, "reported"u8);
        ObservedDesired?.WriteTo(json, "observedDesired"u8);
        json.WriteEndObject();
    }

    /// <summary>Writes the stored entry <paramref name="old"/> with these sides laid over; what else it holds stays.</summary>
    public void WriteTo(Utf8JsonWriter json, JsonElement old)
    {
        var (reported, desired) = (Reported, ObservedDesired);
        json.WriteStartObject();
        foreach (var member in old.EnumerateObject())
        {
            if (reported is not null && member.NameEquals("reported"u8))
            {
                reported.WriteTo(json, "reported"u8);
                reported = null;
            }
            else if (desired is not null && member.NameEquals("observedDesired"u8))
            {
                desired.WriteTo(json, "observedDesired"u8);
                desired = null;
            }
            else
            {
                member.WriteTo(json);
            }
        }

        reported?.WriteTo(json, "reported"u8);
        desired?.WriteTo(json, "observedDesired"u8);
        json.WriteEndObject();
    }
}
