namespace Edge.ApiServer.Rest;

/// <summary>In which shape objects are answered.</summary>
internal enum ObjectShape
{
    Full,
    Table,
    Metadata,
}

/// <summary>Reads the Accept header. Only JSON is written; protobuf-only clients get 406.</summary>
internal static class Negotiation
{
    public static ObjectShape Choose(string accept)
    {
        if (accept is "" or "application/json" or "*/*")
            return ObjectShape.Full;
        foreach (var range in accept.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = range.Split(';', StringSplitOptions.TrimEntries);
            if (parts[0] is not ("application/json" or "application/*" or "*/*"))
                continue;
            var (shape, group, version) = (Parameter(parts, "as"), Parameter(parts, "g"), Parameter(parts, "v"));
            if (shape.Length == 0)
                return ObjectShape.Full;
            if (group != "meta.k8s.io" || version != "v1")
                continue;
            switch (shape)
            {
                case "Table":
                    return ObjectShape.Table;
                case "PartialObjectMetadata" or "PartialObjectMetadataList":
                    return ObjectShape.Metadata;
            }
        }

        throw new ApiException(406, "NotAcceptable", "only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", []);
    }

    /// <summary>The version of the aggregated discovery document that the client can read, <c>v2</c> or <c>v2beta1</c>; null for the plain ones.</summary>
    public static string? AggregatedDiscovery(string accept)
    {
        foreach (var range in accept.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = range.Split(';', StringSplitOptions.TrimEntries);
            if (parts[0] == "application/json" && Parameter(parts, "as") == "APIGroupDiscoveryList" && Parameter(parts, "g") == "apidiscovery.k8s.io" && Parameter(parts, "v") is "v2" or "v2beta1")
                return Parameter(parts, "v");
        }

        return null;
    }

    private static string Parameter(string[] parts, string name)
        => parts.Skip(1).FirstOrDefault(p => p.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..] ?? "";
}
