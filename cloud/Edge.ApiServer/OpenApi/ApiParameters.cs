namespace Edge.ApiServer.OpenApi;

/// <summary>The query parameters of each verb. kubectl looks for fieldValidation and dryRun before it uses them.</summary>
internal static class ApiParameters
{
    private static readonly (string Name, string Type, string Description)[] s_write =
    [
        ("dryRun", "string", "All: check and answer, but store nothing."),
        ("fieldManager", "string", "Who writes."),
        ("fieldValidation", "string", "Ignore, Warn or Strict: what an unknown or repeated field does."),
    ];

    private static readonly (string Name, string Type, string Description)[] s_list =
    [
        ("labelSelector", "string", "Labels that the objects must have."),
        ("fieldSelector", "string", "Fields that the objects must have."),
        ("limit", "integer", "Objects in one answer at most."),
        ("continue", "string", "Where the last answer ended."),
        ("resourceVersion", "string", "The version to read or to watch from."),
        ("watch", "boolean", "Answer with changes as they come."),
    ];

    private static readonly (string Name, string Type, string Description)[] s_delete =
    [
        ("dryRun", "string", "All: check and answer, but store nothing."),
        ("gracePeriodSeconds", "integer", "Seconds until the object goes."),
        ("propagationPolicy", "string", "Orphan, Background or Foreground."),
    ];

    public static (string Name, string Type, string Description)[] Query(string verb) => verb switch
    {
        "patch" or "put" or "post" => s_write,
        "delete" => s_delete,
        _ => s_list,
    };
}
