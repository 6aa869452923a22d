using System.Text.Json.Nodes;
using YamlDotNet.RepresentationModel;

namespace Edge.ApiServer.Tests;

internal static class Json
{
    public static JsonObject Object(string json) => JsonNode.Parse(json)!.AsObject();

    /// <summary>The first document of a YAML file; plain scalars become numbers and truth values.</summary>
    public static JsonObject Yaml(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return Convert(stream.Documents[0].RootNode)!.AsObject();
    }

    public static string RepositoryFile(string path)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "Edge.sln")))
            directory = directory.Parent;
        return File.ReadAllText(Path.Combine(directory!.FullName, path));
    }

    private static JsonNode? Convert(YamlNode node) => node switch
    {
        YamlMappingNode map => new JsonObject(map.Children.Select(pair => KeyValuePair.Create(((YamlScalarNode)pair.Key).Value!, Convert(pair.Value)))),
        YamlSequenceNode list => new JsonArray([.. list.Children.Select(Convert)]),
        YamlScalarNode { Style: YamlDotNet.Core.ScalarStyle.Plain } plain => plain.Value switch
        {
            "true" => true,
            "false" => false,
            var text when long.TryParse(text, out var number) => number,
            var text => text,
        },
        _ => ((YamlScalarNode)node).Value,
    };
}
